package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// curl is as much of the program of that name as the commands of pages use, for
// machines that have none. It writes failures as curl does: to standard error,
// with 22 for an answer that is one.
func curl() {
	request, err := readCurl(os.Args[1:])
	if err == nil {
		err = request.send(os.Stdout)
	}
	var failed statusError
	switch {
	case errors.As(err, &failed):
		fmt.Fprintf(os.Stderr, "curl: (22) The requested URL returned error: %d\n", int(failed))
		os.Exit(22)
	case err != nil:
		fmt.Fprintln(os.Stderr, "curl:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

// isCurl reports whether this process was started under curl's name.
func isCurl() bool { return filepath.Base(os.Args[0]) == "curl" }

type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// curlRequest is what a command line of curl asks for.
type curlRequest struct {
	Method, URL, Body, Output, Write string
	Headers                          [][2]string
	Fail, WithBody                   bool
}

// readCurl reads a command line. An option that no page uses yet is an error.
func readCurl(args []string) (r curlRequest, err error) {
	for len(args) > 0 {
		option := args[0]
		args = args[1:]
		value := func() string {
			if len(args) == 0 {
				err = fmt.Errorf("%s wants a value", option)
				return ""
			}
			v := args[0]
			args = args[1:]
			return v
		}
		switch option {
		case "-X":
			r.Method = value()
		case "-H":
			name, content, _ := strings.Cut(value(), ":")
			r.Headers = append(r.Headers, [2]string{name, strings.TrimSpace(content)})
		case "-d", "--data", "--data-raw", "--data-binary":
			r.Body = value()
			if file, ok := strings.CutPrefix(r.Body, "@"); ok && option != "--data-raw" && err == nil {
				var content []byte
				content, err = os.ReadFile(file)
				r.Body = string(content)
			}
			if r.Method == "" {
				r.Method = http.MethodPost
			}
		case "-o":
			r.Output = value()
		case "-w":
			r.Write = value()
		case "--fail-with-body":
			r.Fail, r.WithBody = true, true
		case "-f", "-fsS", "-fs":
			r.Fail = true
		case "-s", "-sS", "-S":
		default:
			if strings.HasPrefix(option, "-") || r.URL != "" {
				return r, fmt.Errorf("%q is not understood", option)
			}
			r.URL = option
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r curlRequest) send(out io.Writer) error {
	request, err := http.NewRequest(r.Method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return err
	}
	if r.Body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range r.Headers {
		request.Header.Set(h[0], h[1])
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	failed := r.Fail && answer.StatusCode >= http.StatusBadRequest
	if !failed || r.WithBody {
		if r.Output != "" {
			err = os.WriteFile(r.Output, content, 0o600)
		} else {
			_, err = out.Write(content)
		}
	}
	if r.Write != "" && err == nil {
		_, err = fmt.Fprint(out, strings.ReplaceAll(r.Write, "%{http_code}", fmt.Sprint(answer.StatusCode)))
	}
	if failed && err == nil {
		err = statusError(answer.StatusCode)
	}
	return err
}

func TestCurlOptions(t *testing.T) {
	for _, c := range []struct {
		args []string
		want curlRequest
	}{
		{[]string{"-fsS", "http://h/a"}, curlRequest{URL: "http://h/a", Fail: true}},
		{[]string{"--fail-with-body", "-H", "Authorization: Bearer x:y", "http://h", "--data-raw", "@a"},
			curlRequest{URL: "http://h", Method: "POST", Body: "@a", Fail: true, WithBody: true, Headers: [][2]string{{"Authorization", "Bearer x:y"}}}},
		{[]string{"-X", "DELETE", "http://h", "-d", "{}", "-o", "f", "-w", "%{http_code}"},
			curlRequest{URL: "http://h", Method: "DELETE", Body: "{}", Output: "f", Write: "%{http_code}"}},
	} {
		got, err := readCurl(c.args)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", c.args, err, diff)
		}
	}
	for _, args := range [][]string{{"--insecure", "http://h"}, {"-H"}, {"http://h", "http://h"}, {"http://h", "-d", "@/nowhere"}} {
		if got, err := readCurl(args); err == nil {
			t.Errorf("%q was understood as %+v", args, got)
		}
	}
}
