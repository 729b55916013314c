package notify

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

const (
	// burst is the time that Rule.Limit counts in.
	burst = 10 * time.Minute
	// maxGroups is how many groups a digest lists.
	maxGroups = 10
	// patience is how long groups of a build wait for the rest of it.
	patience = 10 * time.Minute
)

// compose makes the messages of a rule that are due.
func (n *Notifier) compose(ctx context.Context, rule Rule) error {
	oldest, ok, err := n.Store.OldestNews(ctx, rule.Name)
	if err != nil || !ok || time.Since(oldest) < rule.Window || time.Now().Before(n.held[rule.Name]) {
		return err
	}
	waiting, err := n.Store.WaitingNews(ctx, rule.Name)
	if err != nil {
		return err
	}
	ready, err := n.ready(ctx, waiting)
	if err != nil || len(ready) == 0 {
		return err
	}
	messages, err := n.divide(ctx, rule, ready)
	if err != nil {
		return err
	}
	for _, groups := range messages {
		err := n.make(ctx, rule, groups)
		if errs.Is(err, errs.Conflict) {
			return nil // another process has them
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ready leaves out groups that may still grow: those of a build whose events come
// repository by repository. A scan brings all of its own at once.
func (n *Notifier) ready(ctx context.Context, waiting []report.WaitingNews) ([]report.WaitingNews, error) {
	ofBuild := func(w report.WaitingNews) bool { return w.ScanID == 0 }
	if !slices.ContainsFunc(waiting, ofBuild) {
		return waiting, nil
	}
	moving, err := n.Store.Unsettled(ctx)
	if err != nil {
		return nil, err
	}
	var first, last time.Time
	for _, w := range waiting {
		if !ofBuild(w) {
			continue
		}
		if first.IsZero() || w.FirstAt.Before(first) {
			first = w.FirstAt
		}
		if w.LastAt.After(last) {
			last = w.LastAt
		}
	}
	moving = moving || time.Since(last) < n.Quiet
	if moving && time.Since(first) < patience {
		return slices.DeleteFunc(waiting, ofBuild), nil
	}
	return waiting, nil
}

// divide says which groups make a message together: all of a window; else each its
// own while that stays within the limit, and all when it does not. Where the limit
// is used up, they wait.
func (n *Notifier) divide(ctx context.Context, rule Rule, ready []report.WaitingNews) ([][]report.WaitingNews, error) {
	if rule.Window > 0 {
		return [][]report.WaitingNews{ready}, nil
	}
	made, first, err := n.Store.MadeNews(ctx, rule.Name, time.Now().Add(-burst))
	switch {
	case err != nil:
		return nil, err
	case rule.Limit <= 0 || made+len(ready) <= rule.Limit:
		return slices.Collect(slices.Chunk(ready, 1)), nil
	case made < rule.Limit:
		return [][]report.WaitingNews{ready}, nil
	}
	n.held[rule.Name] = first.Add(burst)
	return nil, nil
}

// make describes groups and queues their message; the groups are taken even where
// nothing of them is left to tell.
func (n *Notifier) make(ctx context.Context, rule Rule, of []report.WaitingNews) error {
	news, err := n.describe(ctx, rule, of)
	if err != nil {
		return err
	}
	if news != nil && len(of) > 1 {
		if news.Counts.Repositories, err = n.Store.NewsRepositories(ctx, rule.Name, of); err != nil {
			return err
		}
	}
	if err := n.Store.SaveNews(ctx, rule.Name, of, rule.Channels, news); err != nil {
		return err
	}
	if news != nil {
		n.metrics.made(rule.Name, news.Kind)
		n.Logger.InfoContext(ctx, "news", "rule", rule.Name, "kind", news.Kind, "groups", news.GroupCount, "findings", news.Counts.Findings)
	}
	return nil
}

// describe makes the message; nil when nothing is left to tell.
func (n *Notifier) describe(ctx context.Context, rule Rule, of []report.WaitingNews) (*report.News, error) {
	news := &report.News{Rule: rule.Name, GroupCount: len(of), Groups: []report.NewsGroup{}}
	for _, w := range of {
		if len(news.Groups) < maxGroups {
			group, ok, err := n.Store.DescribeNews(ctx, rule.NewsRule, w)
			if err != nil {
				return nil, err
			}
			if !ok {
				news.GroupCount--
				continue
			}
			group.Link = n.link(group)
			news.Groups = append(news.Groups, group)
			news.Truncated = news.Truncated || group.Image != nil && group.Image.Truncated || group.Reach != nil && group.Reach.Truncated
		}
		news.Counts.Add(w.Group.Counts)
		if news.Since.IsZero() || w.FirstAt.Before(news.Since) {
			news.Since = w.FirstAt
		}
		if w.LastAt.After(news.Until) {
			news.Until = w.LastAt
		}
	}
	if news.GroupCount == 0 {
		return nil, nil
	}
	news.Truncated = news.Truncated || news.GroupCount > len(news.Groups)
	news.Kind = kindOf(*news)
	news.Title = titleOf(*news)
	if len(news.Groups) == 1 {
		news.Link = news.Groups[0].Link
	}
	var err error
	news.Sample, err = n.Store.Sample(ctx)
	return news, err
}

func kindOf(news report.News) report.NewsKind {
	switch {
	case news.GroupCount > 1:
		return report.NewsDigest
	case news.Groups[0].Image != nil:
		return report.NewsPush
	}
	return report.NewsGrouped
}

// link says where a group can be read in full.
func (n *Notifier) link(g report.NewsGroup) string {
	base, err := url.Parse(n.PublicURL)
	if err != nil || n.PublicURL == "" {
		return ""
	}
	switch {
	case g.Image != nil && g.Image.Tag != "":
		return withQuery(base.JoinPath("api/v1/findings"), "ref", g.Image.Repository+":"+g.Image.Tag)
	case g.Image != nil:
		return withQuery(base.JoinPath("api/v1/findings"), "ref", g.Image.Repository+"@"+g.Image.Digest)
	}
	// JoinPath would take an id with dots or slashes for a path.
	return base.JoinPath("api/v1/vulnerabilities").String() + "/" + url.PathEscape(g.Vulnerability.ID) + "/images"
}

func withQuery(u *url.URL, name, value string) string {
	u.RawQuery = url.Values{name: {value}}.Encode()
	return u.String()
}
