package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"
)

// soon is how long before its end a certificate is told of.
const soon = 14 * 24 * time.Hour

// lookAtCertificates judges the certificates in files by their time.
func (e *examination) lookAtCertificates(context.Context) (found []Finding) {
	c := e.config
	if c.TLS.CertFile != "" && !e.isWrong("tls") {
		found = append(found, e.judgePair("certificate of listen", "tls.cert_file", c.TLS.CertFile, c.TLS.KeyFile, true))
	}
	if c.CAFile != "" && !e.isWrong("ca_file") {
		found = append(found, judgeAuthorities("authorities of ca_file", c.CAFile))
	}
	for i, r := range c.Registries {
		path := "registries[" + strconv.Itoa(i) + "]"
		if r.ClientCertFile != "" && !e.isWrong(path+".client_cert_file") {
			found = append(found, e.judgePair("client certificate of "+r.Name, "client_cert_file of registry "+r.Name, r.ClientCertFile, r.ClientKeyFile, false))
		}
		if r.CAFile != "" && !e.isWrong(path+".ca_file") {
			found = append(found, judgeAuthorities("authorities of "+r.Name, r.CAFile))
		}
	}
	if len(found) == 0 {
		found = append(found, Finding{"certificates", OK, "none is configured; without tls, a proxy in front has to encrypt", ""})
	}
	return found
}

// judgePair judges a certificate with its key; ours is what public_url names.
func (e *examination) judgePair(name, key, certFile, keyFile string, ours bool) Finding {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return failed(name, err, "correct "+key)
	}
	leaf := pair.Leaf
	if f := judgeTime(name, leaf, "renew "+certFile+"; it is read again when it changes"); f.Status != OK {
		return f
	}
	if u, err := url.Parse(e.config.PublicURL); ours && err == nil && u.Hostname() != "" && leaf.VerifyHostname(u.Hostname()) != nil {
		return Finding{name, Warn, fmt.Sprintf("it is not for %s, which public_url names", u.Hostname()),
			"order one that has the name, or correct public_url; where a proxy encrypts for people this is no problem"}
	}
	return Finding{name, OK, "valid until " + leaf.NotAfter.UTC().Format(time.RFC3339), ""}
}

// judgeTime judges whether a certificate is valid now, and for how long.
func judgeTime(name string, c *x509.Certificate, fix string) Finding {
	now, until := time.Now(), c.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case now.After(c.NotAfter):
		return Finding{name, Fail, "it expired on " + until, fix}
	case now.Before(c.NotBefore):
		return Finding{name, Fail, "it is not valid before " + c.NotBefore.UTC().Format(time.RFC3339), "set the clock of this machine, or order one that is valid now"}
	case c.NotAfter.Sub(now) < soon:
		return Finding{name, Warn, "it expires on " + until, fix}
	}
	return Finding{name, OK, "valid until " + until, ""}
}

// judgeAuthorities judges a file of authorities by the one that ends first.
func judgeAuthorities(name, file string) Finding {
	rest, err := os.ReadFile(file)
	if err != nil {
		return failed(name, err, "make the file readable for the user of the service")
	}
	count, worst := 0, Finding{Check: name, Status: OK}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		count++
		if f := judgeTime(name, c, "replace the authority in "+file); f.Status.rank() < worst.Status.rank() {
			f.Found = c.Subject.String() + ": " + f.Found
			worst = f
		}
	}
	if worst.Status == OK {
		worst.Found = fmt.Sprintf("%d in %s", count, file)
	}
	return worst
}
