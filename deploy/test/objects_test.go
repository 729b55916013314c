package deploytest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// object is a manifest: as it was written, and decoded when its kind is known.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	text  []byte
	typed any // nil for kinds in untyped
}

// is names an object in messages.
func (o object) is() string { return o.Kind + " " + o.Name }

// known are the kinds that are decoded into the types of Kubernetes and of the
// Prometheus operator, where a field that does not exist is an error.
var known = map[string]func() any{
	"v1 ConfigMap":                            func() any { return new(corev1.ConfigMap) },
	"v1 Secret":                               func() any { return new(corev1.Secret) },
	"v1 Service":                              func() any { return new(corev1.Service) },
	"v1 ServiceAccount":                       func() any { return new(corev1.ServiceAccount) },
	"v1 Namespace":                            func() any { return new(corev1.Namespace) },
	"v1 Pod":                                  func() any { return new(corev1.Pod) },
	"v1 PersistentVolumeClaim":                func() any { return new(corev1.PersistentVolumeClaim) },
	"apps/v1 Deployment":                      func() any { return new(appsv1.Deployment) },
	"batch/v1 Job":                            func() any { return new(batchv1.Job) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"networking.k8s.io/v1 Ingress":            func() any { return new(networkingv1.Ingress) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
}

// untyped are kinds whose types are not in this module, because they would bring
// an operator with them. What must be there is looked at in shape_test.go.
var untyped = []string{"keda.sh/v1alpha1 ScaledObject", "external-secrets.io/v1 ExternalSecret"}

// decode splits manifests and decodes each. Unknown kinds, unknown fields, bad
// names and objects that are there twice fail the test.
func decode(t *testing.T, manifests []byte) []object {
	t.Helper()
	var objects []object
	seen := map[string]bool{}
	for _, text := range bytes.Split(manifests, []byte("\n---")) {
		text = bytes.TrimPrefix(text, []byte("---"))
		o, err := decodeOne(text)
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		if o.Kind == "" {
			continue // comments only
		}
		if problems := validation.IsDNS1123Subdomain(o.Name); len(problems) > 0 {
			t.Errorf("%s: %s", o.is(), problems)
		}
		if key := o.APIVersion + " " + o.is(); seen[key] {
			t.Errorf("%s is there twice", key)
		} else {
			seen[key] = true
		}
		objects = append(objects, o)
	}
	if len(objects) == 0 {
		t.Fatal("nothing was rendered")
	}
	return objects
}

func decodeOne(text []byte) (object, error) {
	o := object{text: text}
	if err := yaml.Unmarshal(text, &o); err != nil {
		return o, err
	}
	kind := o.APIVersion + " " + o.Kind
	if o.Kind == "" {
		if strings.TrimSpace(uncommented(string(text))) != "" {
			return o, fmt.Errorf("no kind")
		}
		return o, nil
	}
	blank, ok := known[kind]
	if !ok {
		if !slices.Contains(untyped, kind) {
			return o, fmt.Errorf("kind %s is neither known nor in untyped", kind)
		}
		return o, nil
	}
	o.typed = blank()
	if err := yaml.UnmarshalStrict(text, o.typed); err != nil {
		return o, fmt.Errorf("%s: %w", o.is(), err)
	}
	return o, nil
}

func uncommented(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// all are the objects of a type.
func all[T any](objects []object) []*T {
	var out []*T
	for _, o := range objects {
		if typed, ok := o.typed.(*T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// named is the object of a type and name.
func named[T any](objects []object, name string) (*T, bool) {
	for _, o := range objects {
		if typed, ok := o.typed.(*T); ok && o.Name == name {
			return typed, true
		}
	}
	return nil, false
}
