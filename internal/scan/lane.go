package scan

// Priorities of scans; greater goes first. Each is a lane: while scans wait in
// one, those behind it stand still. There is room between them for others.
const (
	// PriorityRequest is for what somebody waits for: a request, an upload, a push
	// whose answer is waited for.
	PriorityRequest = 10
	PriorityPush    = 0
	// PriorityRescan is for what is known and looked at anew.
	PriorityRescan = -5
	// PriorityReconcile is for what was found by comparing with the registry.
	PriorityReconcile = -10
)

// Lane names the lane of a priority: "waiting", "push", "rescan" or "backfill".
func Lane(priority int) string {
	switch {
	case priority >= PriorityRequest:
		return "waiting"
	case priority >= PriorityPush:
		return "push"
	case priority >= PriorityRescan:
		return "rescan"
	}
	return "backfill"
}
