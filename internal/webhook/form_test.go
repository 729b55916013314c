package webhook

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestPayload(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType, body, want string
		kind                          errs.Kind
	}{
		{"JSON", "application/json", `{"a":1}`, `{"a":1}`, ""},
		{"JSON without a type", "", `{"a":1}`, `{"a":1}`, ""},
		{"form", form, `payload=%7B%22a%22%3A1%7D`, `{"a":1}`, ""},
		{"form with a character set", form + "; charset=utf-8", `payload=%7B%22a%22%3A1%7D`, `{"a":1}`, ""},
		{"form with more in it", form, `x=1&payload=%7B%7D`, `{}`, ""},
		{"form said to be JSON", "application/json", `payload=%7B%7D`, `payload=%7B%7D`, ""},
		{"form with an empty payload", form, `payload=`, ``, ""},
		{"JSON said to be a form", form, `{"a":"&payload={}&"}`, `{"a":"&payload={}&"}`, ""},
		{"JSON behind white space said to be a form", form, " \n{\"a\":\"&payload={}&\"}", " \n{\"a\":\"&payload={}&\"}", ""},
		{"form without a payload", form, `x=1`, "", errs.Malformed},
		{"form with two payloads", form, `payload=%7B%7D&payload=%7B%7D`, "", errs.Malformed},
		{"nothing said to be a form", form, ``, "", errs.Malformed},
		{"not a form", form, `payload=%zz`, "", errs.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := request{header: headersOf("Content-Type", tt.contentType), body: []byte(tt.body)}.payload()
			if string(got) != tt.want || err == nil != (tt.kind == "") || err != nil && errs.KindOf(err) != tt.kind {
				t.Errorf("%q, %v, want %q, kind %q", got, err, tt.want, tt.kind)
			}
		})
	}
}
