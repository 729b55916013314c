package keys

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const maxConfirmation = 64 << 10

// Confirm visits the address by which the subscription of a topic of Amazon SNS
// is confirmed. The error is of kind Unauthorized for any other address,
// Unavailable when the visit did not succeed; the sender then asks again.
func (k *Keys) Confirm(ctx context.Context, url string) error {
	if ConfirmedTopic(url) == "" {
		return errs.New(errs.Unauthorized, "keys: not the address that confirms a subscription of Amazon SNS")
	}
	if !k.confirmRate.AllowN(k.now(), 1) {
		k.metrics.count(kindConfirm, outcomeLimited)
		return unavailable("keys: too many subscriptions were confirmed", nil)
	}
	if _, err := k.fetch(ctx, kindConfirm, url, maxConfirmation, confirmTimeout); err != nil {
		return unavailable("keys: confirm the subscription", err)
	}
	return nil
}
