package webhook

import "cmp"

// managed says how users write an image of a repository manager's repository
// called source, which calls the image name: Endpoint.RepositoryPrefix decides,
// and usual when that is empty. The reason is that of another registry when the
// endpoint is for another source; then the name shows which.
func (e Endpoint) managed(source, name, usual string) (repository, reason string) {
	if e.Source != "" && e.Source != source {
		return source + "/" + name, ReasonOtherRegistry
	}
	switch prefix := cmp.Or(e.RepositoryPrefix, usual); {
	case prefix == PrefixNone:
		return name, ""
	case prefix != PrefixSource:
		return prefix + "/" + name, ""
	case source == "":
		return name, ""
	}
	return source + "/" + name, ""
}
