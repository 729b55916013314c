package main

import (
	"os"
	"text/template"
)

// nextTemplate is what to try once everything runs.
var nextTemplate = template.Must(template.New("next").Parse(`
Tidewaiter runs at {{.Base}} until Ctrl-C; run this again to go on with the same data.

Ask it:
  export TIDEWAITER_SERVER={{.Base}} TIDEWAITER_TOKEN=file:{{.TokenFile}}
  {{.Program}} repos
  {{.Program}} findings {{.Ref}} --fixable
  which images have it?
  {{.Program}} where CVE-2021-44228
  {{.Program}} where lodash
or with anything that speaks HTTP:
  curl -sH "Authorization: Bearer $(cat {{.TokenFile}})" '{{.Base}}/api/v1/findings?ref={{.Ref}}'

Push an image of your own, with Docker:
  docker pull alpine:3.18 && docker tag alpine:3.18 {{.Host}}/demo/alpine:3.18
  docker push {{.Host}}/demo/alpine:3.18
or without:
  go run github.com/google/go-containerregistry/cmd/crane@v0.22.1 copy alpine:3.18 {{.Host}}/demo/alpine:3.18
and ask for it, waiting until it is judged:
  {{.Program}} findings {{.Host}}/demo/alpine:3.18 --wait

Where is an image, and is anything missing?
  {{.Program}} trace {{.Host}}/demo/alpine:3.18
  {{.Program}} reconcile local --wait
`))

func (q *quickstart) showNext() {
	values := map[string]string{"Base": q.base(), "Ref": q.ref(), "Host": q.host, "TokenFile": q.tokenFile(), "Program": q.program}
	if err := nextTemplate.Execute(q.out, values); err != nil {
		q.out.Say("%v", err)
	}
	_ = os.Stdout.Sync()
}
