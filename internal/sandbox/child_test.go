package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test program is its own child: asChild makes it one, asParent makes it a
// process with a pool that is to be killed.
const (
	asChild  = "sandbox-child"
	asParent = "sandbox-parent"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == asChild:
		beChild(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == asParent:
		beParent(os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// Kinds of frames in tests.
const (
	kindDo   byte = 16
	kindSaid byte = 17
)

func beChild(args []string) {
	peer, err := Join()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	if len(args) > 0 && args[0] == "unready" {
		fmt.Fprintln(os.Stderr, "fatal error: no licences here")
		os.Exit(4)
	}
	_ = peer.Ready()
	for f := range peer.Frames() {
		order, argument, _ := strings.Cut(string(f.Body), " ")
		answer, err := orders[order](peer, argument)
		if err != nil {
			answer = "error: " + err.Error()
		}
		_ = peer.Send(Frame{kindSaid, []byte(answer)})
	}
}

// orders are what a child can be told to do, most of it not nice.
var orders = map[string]func(p *Peer, argument string) (string, error){
	"echo": func(_ *Peer, text string) (string, error) { return text, nil },
	"pid":  func(*Peer, string) (string, error) { return strconv.Itoa(os.Getpid()), nil },
	"dirs": func(p *Peer, _ string) (string, error) { return strings.Join(p.Dirs(), "\n"), nil },
	"hang": func(*Peer, string) (string, error) { select {} },
	"spin": func(*Peer, string) (string, error) {
		for n := 0; ; n++ {
		}
	},
	"panic":     func(*Peer, string) (string, error) { panic("a parser fell over") },
	"recursion": func(*Peer, string) (string, error) { return strconv.Itoa(deeper(0)), nil },
	"kill": func(_ *Peer, pid string) (string, error) {
		n, _ := strconv.Atoi(pid)
		if n == 0 {
			n = os.Getpid()
			_ = os.Stderr.Sync()
		}
		return "", syscall.Kill(n, syscall.SIGKILL)
	},
	"eat": func(_ *Peer, megabytes string) (string, error) {
		n, _ := strconv.Atoi(megabytes)
		var all [][]byte
		for range n {
			piece := make([]byte, 1<<20)
			for i := 0; i < len(piece); i += 4096 {
				piece[i] = 1
			}
			all = append(all, piece)
		}
		<-time.After(time.Hour)
		return strconv.Itoa(len(all)), nil
	},
	"leap": func(*Peer, string) (string, error) {
		n := 1 << 40
		piece := make([]byte, n)
		return strconv.Itoa(len(piece)), nil
	},
	"garbage": func(*Peer, string) (string, error) {
		_, err := os.Stdout.WriteString(strings.Repeat("\xff\xfe garbage", 1000))
		return "", err
	},
	"silence": func(*Peer, string) (string, error) {
		_ = os.Stdout.Close()
		select {}
	},
	"chatter": func(*Peer, string) (string, error) {
		for range 10_000 {
			_, _ = os.Stderr.WriteString(strings.Repeat("chatter \xff", 1000) + "\n")
		}
		return "done", nil
	},
	"environ": func(*Peer, string) (string, error) { return strings.Join(os.Environ(), "\n"), nil },
	"files": func(*Peer, string) (string, error) {
		var open []string
		for fd := range 200 {
			var s syscall.Stat_t
			if syscall.Fstat(fd, &s) == nil {
				open = append(open, fmt.Sprintf("%d:%o:%d", fd, s.Mode&syscall.S_IFMT, s.Ino))
			}
		}
		return strings.Join(open, " "), nil
	},
	"read": func(_ *Peer, path string) (string, error) {
		content, err := os.ReadFile(path)
		return string(content), err
	},
	"write": func(_ *Peer, path string) (string, error) {
		return "written", os.WriteFile(path, []byte("from the child"), 0o600)
	},
	"fill": func(p *Peer, argument string) (string, error) {
		which, megabytes, _ := strings.Cut(argument, " ")
		n, _ := strconv.Atoi(megabytes)
		dir, _ := strconv.Atoi(which)
		f, err := os.Create(filepath.Join(p.Dirs()[dir], "full"))
		if err != nil {
			return "", err
		}
		for range n {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				return "", err
			}
		}
		_ = p.Send(Frame{kindSaid, []byte("full")})
		select {}
	},
	"litter": func(p *Peer, _ string) (string, error) {
		dir := filepath.Join(p.Dirs()[0], "a", "b")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			return "", err
		}
		return "", os.Chmod(dir, 0)
	},
	"dial": func(_ *Peer, address string) (string, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return "", err
		}
		return "connected", c.Close()
	},
	"resolve": func(_ *Peer, address string) (string, error) {
		c, err := net.Dial("udp", address)
		if err != nil {
			return "", err
		}
		return "connected", c.Close()
	},
	"lanes": readLanes,
}

// Without an end: the stack is what runs out.
func deeper(n int) int {
	if n < 0 {
		return n
	}
	return deeper(n+1) + 1
}

// readLanes reads a stream of each lane, or only the first bytes of it.
func readLanes(p *Peer, limit string) (string, error) {
	var sums [Lanes]string
	done := make(chan int)
	for i := range Lanes {
		go func() {
			s := p.Lane(i)
			var in io.Reader = s
			if n, err := strconv.Atoi(limit); err == nil {
				in = io.LimitReader(s, int64(n))
			}
			h := sha256.New()
			_, err := io.Copy(h, in)
			sums[i] = hex.EncodeToString(h.Sum(nil))
			if err != nil {
				sums[i] = err.Error()
			}
			_ = s.Close()
			done <- i
		}()
	}
	for range Lanes {
		<-done
	}
	answer, err := json.Marshal(sums)
	return string(answer), err
}
