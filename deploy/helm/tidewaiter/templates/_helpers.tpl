{{- define "tidewaiter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "tidewaiter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "tidewaiter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tidewaiter.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidewaiter.selector" -}}
app.kubernetes.io/name: {{ include "tidewaiter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidewaiter.labels" -}}
{{ include "tidewaiter.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tidewaiter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tidewaiter.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "tidewaiter.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* The Secret that holds the database's URL. */}}
{{- define "tidewaiter.databaseSecret" -}}
{{- if .Values.database.existingSecret -}}
{{ .Values.database.existingSecret }}
{{- else if or .Values.database.url .Values.externalSecret.enabled -}}
{{ include "tidewaiter.fullname" . }}
{{- else -}}
{{- fail "set database.existingSecret to a Secret that holds the URL of Postgres, or database.url to try it out" -}}
{{- end -}}
{{- end -}}

{{/* The configuration file: what the chart needs to know, then config. */}}
{{- define "tidewaiter.config" -}}
{{- range list "listen" "admin_listen" "tls" "database" -}}
{{- if hasKey $.Values.config . -}}
{{- fail (printf "config.%s is set by the chart; see tls and database in its values" .) -}}
{{- end -}}
{{- end -}}
{{- $ours := dict "listen" ":8080" "admin_listen" ":9090" "log" (dict "format" "json") "cache" (dict "max_bytes" "6GiB") -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $ours "tls" (dict "cert_file" "/etc/tidewaiter/tls/tls.crt" "key_file" "/etc/tidewaiter/tls/tls.key") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $ours (deepCopy .Values.config)) -}}
{{- end -}}

{{- define "tidewaiter.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "tidewaiter.probe" -}}
httpGet: { path: {{ .path }}, port: http, scheme: {{ ternary "HTTPS" "HTTP" (ne .root.Values.tls.existingSecret "") }} }
{{- end -}}

{{/* One volume: dict "name" "storage". */}}
{{- define "tidewaiter.volume" -}}
- name: {{ .name }}
{{- if .storage.existingClaim }}
  persistentVolumeClaim: { claimName: {{ .storage.existingClaim }} }
{{- else if eq .storage.kind "ephemeral" }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .storage.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources: { requests: { storage: {{ .storage.size }} } }
{{- else }}
  emptyDir: { sizeLimit: {{ .storage.size }} }
{{- end }}
{{- end -}}

{{/* A pod of a role: dict "root" "role" "of" (its values) "scans" (whether it does). */}}
{{- define "tidewaiter.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "tidewaiter.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    checksum/config: {{ include "tidewaiter.config" $root | sha256sum }}
    {{- with .of.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tidewaiter.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tidewaiter.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $.role }}
    {{- end }}
  {{- with .of.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .of.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .of.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: tidewaiter
      image: {{ include "tidewaiter.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [serve]
      ports:
        - { name: http, containerPort: 8080 }
        - { name: admin, containerPort: 9090 }
      env:
        - name: TIDEWAITER_DATABASE_URL
          valueFrom: { secretKeyRef: { name: {{ include "tidewaiter.databaseSecret" $root }}, key: {{ $root.Values.database.key }} } }
        {{- if eq .role "worker" }}
        - { name: TIDEWAITER_RECEIVER_ENABLED, value: "false" }
        - { name: TIDEWAITER_API_ENABLED, value: "false" }
        {{- else if $root.Values.adminToken.existingSecret }}
        - name: TIDEWAITER_ADMIN_TOKEN
          valueFrom: { secretKeyRef: { name: {{ $root.Values.adminToken.existingSecret }}, key: {{ $root.Values.adminToken.key }} } }
        {{- end }}
        - { name: TIDEWAITER_WORKERS_ENABLED, value: {{ .scans | quote }} }
        {{- with $root.Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.envFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      startupProbe:
        {{- include "tidewaiter.probe" (dict "root" $root "path" "/livez") | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 150 # a migration of a large database takes its time
      livenessProbe:
        {{- include "tidewaiter.probe" (dict "root" $root "path" "/livez") | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        {{- include "tidewaiter.probe" (dict "root" $root "path" "/readyz") | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- with $root.Values.preStopSleepSeconds }}
      lifecycle: # until nobody sends requests here any more
        preStop: { sleep: { seconds: {{ . }} } }
      {{- end }}
      resources: {{- toYaml .of.resources | nindent 8 }}
      securityContext:
        {{- include "tidewaiter.securityContext" $root | nindent 8 }}
      volumeMounts:
        - { name: config, mountPath: /etc/tidewaiter/tidewaiter.yaml, subPath: tidewaiter.yaml, readOnly: true }
        {{- if $root.Values.tls.existingSecret }}
        - { name: tls, mountPath: /etc/tidewaiter/tls, readOnly: true }
        {{- end }}
        - { name: data, mountPath: /var/lib/tidewaiter }
        - { name: cache, mountPath: /var/cache/tidewaiter }
        - { name: tmp, mountPath: /tmp }
        {{- with $root.Values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: { name: {{ include "tidewaiter.fullname" $root }} }
    {{- if $root.Values.tls.existingSecret }}
    - name: tls
      secret: { secretName: {{ $root.Values.tls.existingSecret }}, defaultMode: 0440 }
    {{- end }}
    {{- if .scans }}
    {{- range $name := list "data" "cache" "tmp" }}
    {{- include "tidewaiter.volume" (dict "name" $name "storage" (get $root.Values.storage $name)) | nindent 4 }}
    {{- end }}
    {{- else }}
    {{- range list "data" "cache" "tmp" }}
    - name: {{ . }}
      emptyDir: { sizeLimit: 1Gi }
    {{- end }}
    {{- end }}
    {{- with $root.Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
