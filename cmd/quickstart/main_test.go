package main

import "testing"

func TestDataDir(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no flag", []string{"--exit"}, defaultData},
		{"apart", []string{"--exit", "--data", "/tmp/x"}, "/tmp/x"},
		{"with an equals sign", []string{"--data=/tmp/y", "--exit"}, "/tmp/y"},
		{"without a value", []string{"--data"}, defaultData},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := dataDir(test.args); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
