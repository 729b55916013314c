package match

import (
	"bytes"
	"encoding/json"

	"github.com/tidewaiter/tidewaiter/internal/text"
)

// cleanJSON takes NULs out of the strings of a JSON document; Postgres cannot
// hold them in jsonb either. A document without any comes back as it is.
func cleanJSON(document json.RawMessage) json.RawMessage {
	if !bytes.Contains(document, []byte(`\u0000`)) {
		return document
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return json.RawMessage("null") // encoded by us; cannot happen
	}
	return encode(cleanValue(value))
}

func cleanValue(value any) any {
	switch v := value.(type) {
	case string:
		return text.Valid(v)
	case []any:
		for i := range v {
			v[i] = cleanValue(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[text.Valid(k)] = cleanValue(e)
		}
		return out
	}
	return value
}
