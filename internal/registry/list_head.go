package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

// accepted are the manifests a tag may point to. What is not accepted, some
// registries call missing, so schema 1 is among them: a pull asks for it too.
var accepted = strings.Join([]string{
	image.MediaTypeOCIIndex, image.MediaTypeDockerList, image.MediaTypeOCIManifest, image.MediaTypeDockerManifest,
	"application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.docker.distribution.manifest.v1+json",
}, ", ")

// Head asks which manifest ref points to, by its digest when it has one, else by
// its tag. It sends HEAD, which Docker Hub does not count as a pull; only where a
// registry refuses that, or leaves out the digest of a tag, is the manifest read,
// and the digest is then that of its content.
//
// Errors: NotFound when it is not there, Malformed when the registry names
// another digest than the one asked for, and else those of Resolve.
func (c *Client) Head(ctx context.Context, ref image.Reference) (reconcile.Head, error) {
	op := "registry: head " + ref.String()
	conn, err := c.at(ref)
	if err != nil {
		return reconcile.Head{}, errs.Op(op, err)
	}
	id, err := identifier(ref)
	if err != nil {
		return reconcile.Head{}, errs.Op(op, err)
	}
	asking, cancel := conn.withTimeout(ctx)
	defer cancel()
	head, ok, err := conn.head(asking, ref.Repository, id)
	if err == nil && !ok {
		head, err = conn.readHead(asking, ref.Repository, id)
	}
	if err == nil && ref.Digest != "" && head.Digest != ref.Digest {
		err = errs.New(errs.Malformed, "asked for %s, %s answered with %s", ref.Digest.Short(), conn.settings.Endpoint, head.Digest.Short())
	}
	if err != nil {
		return reconcile.Head{}, errs.Op(op, conn.settings.explain(asking, err))
	}
	return head, nil
}

// head reports false when the registry has no use for HEAD.
func (c *connection) head(ctx context.Context, repository, id string) (reconcile.Head, bool, error) {
	resp, err := c.askManifest(ctx, http.MethodHead, repository, id)
	if err != nil {
		return reconcile.Head{}, false, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented {
		return reconcile.Head{}, false, nil
	}
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return reconcile.Head{}, false, err
	}
	head := reconcile.Head{MediaType: mediaType(resp), Size: max(resp.ContentLength, 0)}
	stated := resp.Header.Get("Docker-Content-Digest")
	if stated == "" && strings.Contains(id, ":") {
		stated = id // It is there: more was not asked.
	}
	head.Digest, err = image.ParseDigest(stated)
	return head, err == nil, nil
}

// readHead takes from the manifest itself what HEAD does not tell.
func (c *connection) readHead(ctx context.Context, repository, id string) (reconcile.Head, error) {
	resp, err := c.askManifest(ctx, http.MethodGet, repository, id)
	if err != nil {
		return reconcile.Head{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return reconcile.Head{}, err
	}
	content, err := io.ReadAll(resp.Body) // bounded as every manifest is
	if err != nil {
		return reconcile.Head{}, err
	}
	head := reconcile.Head{Digest: image.DigestOf(content), MediaType: mediaType(resp), Size: int64(len(content))}
	if strings.HasPrefix(id, "sha512:") {
		head.Digest = image.Digest(id) // A pull checks it, with the algorithm it needs.
	}
	return head, nil
}

func (c *connection) askManifest(ctx context.Context, method, repository, id string) (*http.Response, error) {
	to := url.URL{Path: "/v2/" + repository + "/manifests/" + id}
	return c.asker.ask(ctx, method, pullScope(repository), to, http.Header{"Accept": {accepted}})
}

// mediaType is the type without its parameters.
func mediaType(resp *http.Response) string {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return printable(kind, 200)
}
