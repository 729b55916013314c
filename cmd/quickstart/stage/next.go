package main

import (
	"os"
	"text/template"
)

// nextTemplate is what to try once everything runs.
var nextTemplate = template.Must(template.New("next").Parse(`
Tidewaiter runs at {{.Base}} until Ctrl-C; run this again to go on with the same data.

Ask it:
  export TOKEN=$(cat {{.TokenFile}})
  curl -sH "Authorization: Bearer $TOKEN" '{{.Base}}/api/v1/findings?ref={{.Ref}}&fixable=true'
  curl -sH "Authorization: Bearer $TOKEN" '{{.Base}}/api/v1/repositories'
  which images have it?
  curl -sH "Authorization: Bearer $TOKEN" '{{.Base}}/api/v1/vulnerabilities/CVE-2021-44228/images'
  curl -sH "Authorization: Bearer $TOKEN" '{{.Base}}/api/v1/packages?name=lodash'

Push an image of your own, with Docker:
  docker pull alpine:3.18 && docker tag alpine:3.18 {{.Host}}/demo/alpine:3.18
  docker push {{.Host}}/demo/alpine:3.18
or without:
  go run github.com/google/go-containerregistry/cmd/crane@v0.22.1 copy alpine:3.18 {{.Host}}/demo/alpine:3.18
and ask for it, waiting until it is judged:
  curl -sH "Authorization: Bearer $TOKEN" '{{.Base}}/api/v1/image?ref={{.Host}}/demo/alpine:3.18&wait=60s'

Where is an image, and is anything missing?
  export TIDEWAITER_SERVER={{.Base}} TIDEWAITER_TOKEN=file:{{.TokenFile}}
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
