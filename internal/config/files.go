package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
)

// fileProblems checks the files that are named: a missing certificate is better
// told now than at the first push.
func (c Config) fileProblems() Problems {
	var ps Problems
	checkCA(&ps, "ca_file", c.CAFile)
	checkCA(&ps, "vulndb.ca_file", c.VulnDB.CAFile)
	checkCA(&ps, "telemetry.ca_file", c.Telemetry.CAFile)
	c.TLS.checkFiles(&ps)
	for i, o := range c.API.OIDC {
		checkCA(&ps, at("api.oidc", i)+".ca_file", o.CAFile)
	}
	for i, channel := range c.Notify.Channels {
		checkCA(&ps, at("notify.channels", i)+".ca_file", channel.CAFile)
	}
	for i, r := range c.Registries {
		path := at("registries", i)
		checkCA(&ps, path+".ca_file", r.CAFile)
		checkDockerConfig(&ps, path+".auth.docker_config", r.Auth.DockerConfig)
		checkPair(&ps, path+".client_cert_file", r.ClientCertFile, r.ClientKeyFile)
		for n, m := range r.Mirrors {
			path := at(path+".mirrors", n)
			checkCA(&ps, path+".ca_file", m.CAFile)
			checkDockerConfig(&ps, path+".auth.docker_config", m.Auth.DockerConfig)
		}
	}
	return ps
}

func checkCA(ps *Problems, path, file string) {
	if file == "" {
		return
	}
	pem, err := os.ReadFile(file)
	switch {
	case err != nil:
		ps.add(path, "%s", err)
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		ps.add(path, "%s holds no PEM certificate", file)
	}
}

func (t TLS) checkFiles(ps *Problems) { checkPair(ps, "tls", t.CertFile, t.KeyFile) }

// checkPair checks a certificate with its key.
func checkPair(ps *Problems, path, cert, key string) {
	if cert == "" || key == "" {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		ps.add(path, "%s", err)
	}
}

func checkDockerConfig(ps *Problems, path, file string) {
	if file == "" {
		return
	}
	content, err := os.ReadFile(file)
	switch {
	case err != nil:
		ps.add(path, "%s", err)
	case !json.Valid(content):
		ps.add(path, "%s is not JSON", file)
	}
}
