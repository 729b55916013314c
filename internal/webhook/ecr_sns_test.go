package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// snsBody is a notification with a text, as parse gets it once it is verified.
func snsBody(message string) string {
	return fmt.Sprintf(`{"Type":"Notification","MessageId":"m1","TopicArn":%q,"Timestamp":"2026-10-05T09:15:29.655Z","Message":%s}`,
		snsTopic, must(json.Marshal(message)))
}

func TestECRSNSVerdicts(t *testing.T) {
	event := ecrBody("ECR Image Action", `"result":"SUCCESS","action-type":"PUSH","image-tag":"1"`)
	push := verdict{Host: ecrName, Repository: "team/app", Tag: "1"}
	tests := []struct {
		name, body string
		want       []verdict
		key        string
	}{
		{"event", snsBody(event), []verdict{push}, "id:e1"},
		{"raw delivery", event, []verdict{push}, "id:e1"},
		{"event without an id", snsBody(strings.NewReplacer(`"id":"e1",`, "", `"time":"2026-10-05T09:15:27Z",`, "").Replace(event)), []verdict{push}, "id:m1"},
		{"several", snsBody("[" + event + "," + strings.Replace(event, "e1", "e2", 1) + "]"), []verdict{push, push}, ""},
		{"text", snsBody("Hello"), []verdict{{Ignored: ReasonMalformed}}, "id:m1"},
		{"nothing", snsBody(""), []verdict{{Ignored: ReasonMalformed}}, "id:m1"},
		{"event of the wrong shape", snsBody(ecrBody("ECR Image Action", `"action-type":7`)), []verdict{{Ignored: ReasonMalformed}}, "id:m1"},
		{"event of another service", snsBody(`{"source":"aws.s3","detail-type":"Object Created","id":"x","detail":{}}`), []verdict{{Ignored: ReasonOtherEvent}}, "id:x"},
		{"a message in a message", snsBody(snsBody(event)), []verdict{{Ignored: ReasonUnknownEvent}}, "id:m1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []verdict
			items := itemsOf(t, endpointAt("ecr-sns", ecrName), nil, tt.body)
			for _, item := range items {
				got = append(got, verdictOf(item))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			if tt.key != "" && items[0].DedupeKey != tt.key {
				t.Errorf("key %q, want %q", items[0].DedupeKey, tt.key)
			}
		})
	}
}

// TestECRSNSHeadersOfTheMessageSayNothing: nobody signs the headers, so they
// cannot make another event of a signed message.
func TestECRSNSHeadersOfTheMessageSayNothing(t *testing.T) {
	body := snsBody(ecrBody("ECR Image Action", `"result":"SUCCESS","action-type":"PUSH","image-tag":"1"`))
	header := headersOf("Ce-Type", "com.amazon.ecr.delete", "Ce-Id", "2", "Ce-Specversion", "1.0", "Content-Type", "application/json")
	items := itemsOf(t, endpointAt("ecr-sns", ecrName), header, body)
	if len(items) != 1 || items[0].Event.Action != ActionPush || items[0].Event.EventID != "e1" {
		t.Errorf("items %+v", items)
	}
}

func TestECRSNSRefused(t *testing.T) {
	checkRefused(t, "ecr-sns",
		refusal{"field of the wrong type", `{"Type":"Notification","TopicArn":7,"id":{}}`, errs.Malformed},
		refusal{"raw event of the wrong shape", ecrBody("ECR Image Action", `"action-type":7`), errs.Malformed},
	)
}

// TestECRSNSLargeBody is refused for its size before anything is verified.
func TestECRSNSLargeBody(t *testing.T) {
	e := Endpoint{Registry: "ecr", Host: ecrName, Format: "ecr-sns", Auth: withCertificate(snsAuth())}
	body, headers := snsRequest{changes: map[string]any{"Message": strings.Repeat("a", defaultMaxBody)}}.parts()
	if w := post(mustHandler(t, &keeper{}, e), "ecr", body, headers...); w.Code != 413 {
		t.Errorf("status %d", w.Code)
	}
}

func TestECRSNSHostile(t *testing.T) {
	e := endpointAt("ecr-sns", ecrName)
	checkHostile(t, e, nil, `{"Type":"Notification","MessageId":"@","TopicArn":"@","Timestamp":"@","Message":"@","Subject":"@"}`)
	checkHostile(t, e, nil, `{"Type":"@","MessageId":"@","TopicArn":"t","Timestamp":"@","SubscribeURL":"@","Token":"@"}`)
}
