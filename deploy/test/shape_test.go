package deploytest

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// at walks into an object that has no type; a key that is missing fails the test.
func at(t *testing.T, o object, keys ...string) any {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(o.text, &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		next, ok := tree.(map[string]any)[key]
		if !ok {
			t.Fatalf("%s has no %s", o.is(), strings.Join(keys, "."))
		}
		tree = next
	}
	return tree
}

// checkShapes looks at kinds without types, by the documentation of KEDA 2 and of
// the External Secrets operator.
func checkShapes(t *testing.T, objects []object) {
	t.Helper()
	for _, o := range objects {
		switch o.Kind {
		case "ScaledObject":
			checkScaledObject(t, o, objects)
		case "ExternalSecret":
			checkExternalSecret(t, o, objects)
		}
	}
}

func checkScaledObject(t *testing.T, o object, objects []object) {
	t.Helper()
	only(t, o, at(t, o, "spec"), "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "triggers")
	for _, trigger := range at(t, o, "spec", "triggers").([]any) {
		only(t, o, trigger, "type", "metadata")
		metadata := trigger.(map[string]any)["metadata"].(map[string]any)
		for key, value := range metadata {
			if _, ok := value.(string); !ok {
				t.Errorf("%s: %s of a trigger has to be a text, and is %v", o.is(), key, value)
			}
		}
		switch trigger.(map[string]any)["type"] {
		case "postgresql":
			only(t, o, metadata, "connectionFromEnv", "query", "targetQueryValue")
			env := pods(objects)
			for _, p := range env {
				if p.serve && !hasEnv(p, metadata["connectionFromEnv"].(string)) {
					t.Errorf("%s takes the connection from %v, which %s does not have", o.is(), metadata["connectionFromEnv"], p.owner)
				}
			}
		case "prometheus":
			only(t, o, metadata, "serverAddress", "query", "threshold")
		default:
			t.Errorf("%s: trigger %v", o.is(), trigger)
		}
	}
}

func hasEnv(p pod, name string) bool {
	for _, e := range p.spec.Containers[0].Env {
		if e.Name == name {
			return true
		}
	}
	return false
}

// checkExternalSecret wants the secret that it makes to be the one that the pods
// take, with the keys that they take from it.
func checkExternalSecret(t *testing.T, o object, objects []object) {
	t.Helper()
	only(t, o, at(t, o, "spec"), "refreshInterval", "secretStoreRef", "target", "data")
	only(t, o, at(t, o, "spec", "secretStoreRef"), "name", "kind")
	made := at(t, o, "spec", "target", "name").(string)
	keys := map[string]bool{}
	for _, entry := range at(t, o, "spec", "data").([]any) {
		only(t, o, entry, "secretKey", "remoteRef")
		keys[entry.(map[string]any)["secretKey"].(string)] = true
	}
	taken := 0
	for _, p := range pods(objects) {
		for _, ref := range secretRefs(p) {
			if ref.Name != made {
				continue
			}
			taken++
			if !keys[ref.Key] {
				t.Errorf("%s takes %s from %s, which %s does not put there", p.owner, ref.Key, made, o.is())
			}
		}
	}
	if taken == 0 {
		t.Errorf("%s makes %s, which nobody takes", o.is(), made)
	}
}

func secretRefs(p pod) (refs []*corev1.SecretKeySelector) {
	for _, e := range p.spec.Containers[0].Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			refs = append(refs, e.ValueFrom.SecretKeyRef)
		}
	}
	return refs
}

// only wants an object to have no other keys.
func only(t *testing.T, o object, tree any, keys ...string) {
	t.Helper()
	allowed := map[string]bool{}
	for _, key := range keys {
		allowed[key] = true
	}
	for key := range tree.(map[string]any) {
		if !allowed[key] {
			t.Errorf("%s has %s, which is not looked at", o.is(), key)
		}
	}
}
