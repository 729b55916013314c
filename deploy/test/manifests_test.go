// Package deploytest checks what people deploy: the Helm chart, the
// kustomizations, the compose file and the Dockerfile. It is a module of its own
// so that nobody who builds Tidewaiter compiles Helm.
package deploytest

import (
	"maps"
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
	"k8s.io/apimachinery/pkg/labels"
)

// TestManifests renders everything and holds it together: each kind is decoded
// strictly, and what one object says of another is true.
func TestManifests(t *testing.T) {
	for name, objects := range sets(t) {
		t.Run(name, func(t *testing.T) {
			for _, p := range pods(objects) {
				checkSecurity(t, p)
				checkMounts(t, objects, p)
				checkProbes(t, p)
				checkResources(t, p)
			}
			checkSelectors(t, objects)
			checkBackends(t, objects)
			checkScaling(t, objects)
			checkNetwork(t, objects)
			checkShapes(t, objects)
			checkConfig(t, objects)
		})
	}
}

// pod is a pod that an object makes.
type pod struct {
	owner string
	meta  metav1.ObjectMeta
	spec  corev1.PodSpec
	serve bool // it runs the service
}

func pods(objects []object) []pod {
	var out []pod
	add := func(o object, meta metav1.ObjectMeta, spec corev1.PodSpec) {
		out = append(out, pod{o.is(), meta, spec, len(spec.Containers) == 1 && slices.Equal(spec.Containers[0].Args, []string{"serve"})})
	}
	for _, o := range objects {
		switch typed := o.typed.(type) {
		case *appsv1.Deployment:
			add(o, typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec)
		case *batchv1.Job:
			add(o, typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec)
		case *corev1.Pod:
			add(o, typed.ObjectMeta, typed.Spec)
		}
	}
	return out
}

// checkSecurity holds a pod to the Pod Security Standard "restricted", and to a
// root file system that is read-only.
func checkSecurity(t *testing.T, p pod) {
	t.Helper()
	if s := p.spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: the pod may run as root or without seccomp: %+v", p.owner, s)
	}
	if p.spec.HostNetwork || p.spec.HostPID || p.spec.HostIPC {
		t.Errorf("%s shares namespaces of the node", p.owner)
	}
	if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
		t.Errorf("%s has a token for the cluster's API, which nothing needs", p.owner)
	}
	for _, c := range slices.Concat(p.spec.Containers, p.spec.InitContainers) {
		s := c.SecurityContext
		if s == nil {
			t.Errorf("%s: %s has no security context", p.owner, c.Name)
			continue
		}
		for what, good := range map[string]bool{
			"runAsNonRoot":             s.RunAsNonRoot != nil && *s.RunAsNonRoot,
			"runAsUser":                s.RunAsUser != nil && *s.RunAsUser == 65532,
			"readOnlyRootFilesystem":   s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem,
			"allowPrivilegeEscalation": s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation,
			"seccompProfile":           s.SeccompProfile != nil && s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
			"capabilities": s.Capabilities != nil && slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) &&
				len(s.Capabilities.Add) == 0,
			"privileged": s.Privileged == nil,
		} {
			if !good {
				t.Errorf("%s: %s: %s is not what it should be", p.owner, c.Name, what)
			}
		}
	}
}

// checkMounts wants every volume mounted and made of what exists, and every place
// that the image declares as a volume covered.
func checkMounts(t *testing.T, objects []object, p pod) {
	t.Helper()
	c := p.spec.Containers[0]
	unused := map[string]bool{}
	for _, v := range p.spec.Volumes {
		if unused[v.Name] {
			t.Errorf("%s: volume %s is there twice", p.owner, v.Name)
		}
		unused[v.Name] = true
		if v.ConfigMap != nil {
			if _, ok := named[corev1.ConfigMap](objects, v.ConfigMap.Name); !ok {
				t.Errorf("%s: volume %s is of the ConfigMap %s, which is not there", p.owner, v.Name, v.ConfigMap.Name)
			}
		}
		if v.PersistentVolumeClaim != nil && !strings.HasPrefix(v.PersistentVolumeClaim.ClaimName, "existing-") {
			if _, ok := named[corev1.PersistentVolumeClaim](objects, v.PersistentVolumeClaim.ClaimName); !ok {
				t.Errorf("%s: volume %s is of the claim %s, which is not there", p.owner, v.Name, v.PersistentVolumeClaim.ClaimName)
			}
		}
	}
	exists := maps.Clone(unused)
	places := map[string]bool{}
	for _, m := range c.VolumeMounts {
		if !exists[m.Name] {
			t.Errorf("%s mounts %s, which is no volume", p.owner, m.Name)
		}
		delete(unused, m.Name)
		if places[m.MountPath] {
			t.Errorf("%s mounts two things at %s", p.owner, m.MountPath)
		}
		places[m.MountPath] = true
	}
	for name := range unused {
		t.Errorf("%s: volume %s is not mounted", p.owner, name)
	}
	if !p.serve {
		return
	}
	for _, place := range imageVolumes(t) {
		if !places[place] {
			t.Errorf("%s has no volume at %s, where the image writes", p.owner, place)
		}
	}
	if name := p.spec.ServiceAccountName; name != "existing" {
		if _, ok := named[corev1.ServiceAccount](objects, name); !ok {
			t.Errorf("%s runs as %s, which is not there", p.owner, name)
		}
	}
}

// checkProbes wants the three probes at routes and ports that exist, and the time
// to stop in order.
func checkProbes(t *testing.T, p pod) {
	t.Helper()
	if !p.serve {
		return
	}
	c := p.spec.Containers[0]
	ports := map[string]int32{}
	for _, port := range c.Ports {
		ports[port.Name] = port.ContainerPort
	}
	if ports["http"] != 8080 || ports["admin"] != 9090 {
		t.Errorf("%s: ports are %v", p.owner, ports)
	}
	for name, probe := range map[string]struct {
		*corev1.Probe
		path string
	}{"startup": {c.StartupProbe, "/livez"}, "liveness": {c.LivenessProbe, "/livez"}, "readiness": {c.ReadinessProbe, "/readyz"}} {
		if probe.Probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != probe.path || probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("%s: %s probe is %+v, want %s at http", p.owner, name, probe.Probe, probe.path)
		}
	}
	grace := int64(30) // workers.shutdown_grace
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil {
		grace += c.Lifecycle.PreStop.Sleep.Seconds
	}
	if s := p.spec.TerminationGracePeriodSeconds; s == nil || *s <= grace {
		t.Errorf("%s has %v seconds to stop, and needs more than %d", p.owner, s, grace)
	}
}

func checkResources(t *testing.T, p pod) {
	t.Helper()
	for _, c := range p.spec.Containers {
		r := c.Resources
		if r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().IsZero() {
			t.Errorf("%s: %s asks for %v, limits %v", p.owner, c.Name, r.Requests, r.Limits)
		}
		if r.Limits.Memory().Cmp(*r.Requests.Memory()) < 0 {
			t.Errorf("%s: %s may have less memory than it asks for", p.owner, c.Name)
		}
	}
	for _, v := range p.spec.Volumes {
		if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.IsZero()) {
			t.Errorf("%s: volume %s may fill the node", p.owner, v.Name)
		}
	}
}

// checkSelectors wants each selector to find pods of the right sort, and only those.
func checkSelectors(t *testing.T, objects []object) {
	t.Helper()
	serving := func(selector labels.Selector) (found []pod) {
		for _, p := range pods(objects) {
			if p.serve && selector.Matches(labels.Set(p.meta.Labels)) {
				found = append(found, p)
			}
		}
		return found
	}
	for _, d := range all[appsv1.Deployment](objects) {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		if found := serving(selector); len(found) != 1 || found[0].owner != "Deployment "+d.Name {
			t.Errorf("Deployment %s selects %d sorts of pods", d.Name, len(found))
		}
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if spread, err := metav1.LabelSelectorAsSelector(c.LabelSelector); err != nil || len(serving(spread)) != 1 {
				t.Errorf("Deployment %s spreads by %v, which is not only its own pods", d.Name, c.LabelSelector)
			}
		}
	}
	for _, s := range all[corev1.Service](objects) {
		found := serving(labels.SelectorFromSet(s.Spec.Selector))
		if len(s.Spec.Selector) == 0 || len(found) == 0 {
			t.Errorf("Service %s selects nothing", s.Name)
		}
		for _, p := range found {
			for _, port := range s.Spec.Ports {
				if !hasPort(p, port.TargetPort.StrVal) {
					t.Errorf("Service %s leads to port %s, which %s does not have", s.Name, port.TargetPort.StrVal, p.owner)
				}
				if api := p.meta.Labels["app.kubernetes.io/component"] == "server"; port.Name == "http" && !api {
					t.Errorf("Service %s sends requests to %s", s.Name, p.owner)
				}
			}
		}
	}
	for _, b := range all[policyv1.PodDisruptionBudget](objects) {
		if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err != nil || len(serving(selector)) != 1 {
			t.Errorf("PodDisruptionBudget %s is not of one sort of pods", b.Name)
		}
	}
	for _, m := range all[monitoring.ServiceMonitor](objects) {
		checkMonitor(t, objects, m)
	}
}

func hasPort(p pod, name string) bool {
	return slices.ContainsFunc(p.spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == name })
}

func checkMonitor(t *testing.T, objects []object, m *monitoring.ServiceMonitor) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, s := range all[corev1.Service](objects) {
		if selector.Matches(labels.Set(s.Labels)) {
			found = append(found, s.Name)
			if s.Spec.Ports[0].Name != m.Spec.Endpoints[0].Port {
				t.Errorf("ServiceMonitor %s asks port %s of %s", m.Name, m.Spec.Endpoints[0].Port, s.Name)
			}
		}
	}
	if len(found) != 1 || !strings.HasSuffix(found[0], "-metrics") {
		t.Errorf("ServiceMonitor %s selects %v", m.Name, found)
	}
	if p := m.Spec.Endpoints[0].Path; p != "/metrics" {
		t.Errorf("ServiceMonitor %s asks %s", m.Name, p)
	}
}

func checkBackends(t *testing.T, objects []object) {
	t.Helper()
	for _, i := range all[networkingv1.Ingress](objects) {
		for _, rule := range i.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				backend := path.Backend.Service
				s, ok := named[corev1.Service](objects, backend.Name)
				if !ok || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == backend.Port.Name }) {
					t.Errorf("Ingress %s leads to %s, port %s", i.Name, backend.Name, backend.Port.Name)
				}
			}
		}
	}
}

// checkScaling wants what is scaled to exist, to be scaled by one, and to have no
// number of its own.
func checkScaling(t *testing.T, objects []object) {
	t.Helper()
	scaled := map[string]string{}
	target := func(by, name string, ownNumber bool) {
		d, ok := named[appsv1.Deployment](objects, name)
		if !ok {
			t.Errorf("%s scales %s, which is not there", by, name)
			return
		}
		if ownNumber && d.Spec.Replicas != nil {
			t.Errorf("%s scales %s, which says itself how many there are", by, name)
		}
		if other := scaled[name]; other != "" {
			t.Errorf("%s and %s scale %s", by, other, name)
		}
		scaled[name] = by
	}
	for _, h := range all[autoscalingv2.HorizontalPodAutoscaler](objects) {
		if h.Spec.ScaleTargetRef.Kind != "Deployment" || h.Spec.MinReplicas == nil || *h.Spec.MinReplicas > h.Spec.MaxReplicas {
			t.Errorf("HorizontalPodAutoscaler %s: %+v", h.Name, h.Spec)
		}
		target("HorizontalPodAutoscaler "+h.Name, h.Spec.ScaleTargetRef.Name, true)
	}
	for _, o := range objects {
		if o.Kind == "ScaledObject" {
			// A component cannot take the number away from a base it does not know.
			target(o.is(), at(t, o, "spec", "scaleTargetRef", "name").(string), strings.Contains(string(o.text), "helm.sh/chart"))
		}
	}
}

// checkNetwork wants the policy to cover every pod that serves, and to leave open
// what it needs and nothing for the admin port but who is named.
func checkNetwork(t *testing.T, objects []object) {
	t.Helper()
	for _, n := range all[networkingv1.NetworkPolicy](objects) {
		selector, err := metav1.LabelSelectorAsSelector(&n.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods(objects) {
			if p.serve && !selector.Matches(labels.Set(p.meta.Labels)) {
				t.Errorf("NetworkPolicy %s leaves out %s", n.Name, p.owner)
			}
		}
		open := map[string]bool{}
		for _, in := range n.Spec.Ingress {
			for _, port := range in.Ports {
				open[port.Port.StrVal] = true
				if port.Port.StrVal == "admin" && len(in.From) == 0 {
					t.Errorf("NetworkPolicy %s opens the admin port to everybody", n.Name)
				}
			}
			if len(in.Ports) == 0 {
				t.Errorf("NetworkPolicy %s opens every port", n.Name)
			}
		}
		if !open["http"] || !open["admin"] {
			t.Errorf("NetworkPolicy %s opens %v", n.Name, open)
		}
	}
}
