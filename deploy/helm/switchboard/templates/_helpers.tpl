{{- define "switchboard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Leaves room for "-gateway" and what Kubernetes appends to pods' names. */}}
{{- define "switchboard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "switchboard.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What selects the pods of a component: (dict "root" $ "component" "gateway"). */}}
{{- define "switchboard.selector" -}}
app.kubernetes.io/name: {{ include "switchboard.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "switchboard.labels" -}}
{{ include "switchboard.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: switchboard
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name, labels and annotations: (dict "root" $ "component" … "name" … "annotations" …). */}}
{{- define "switchboard.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "switchboard.fullname" .root) .component) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "switchboard.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* An image of values: (dict "image" .Values.image "tag" "1.0"). */}}
{{- define "switchboard.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (.image.tag | default .tag) }}
{{- end }}
{{- end }}

{{- define "switchboard.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "switchboard.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "switchboard.jwtSecret" -}}
{{- if .Values.auth.jwtSecret.existingSecret }}
{{- .Values.auth.jwtSecret.existingSecret }}
{{- else if .Values.auth.jwtSecret.create }}
{{- printf "%s-jwt" (include "switchboard.fullname" .) }}
{{- end }}
{{- end }}

{{- define "switchboard.redisSecret" -}}
{{- if not .Values.redis.enabled }}
{{- else if .Values.redis.users.existingSecret }}
{{- .Values.redis.users.existingSecret }}
{{- else if .Values.redis.users.create }}
{{- printf "%s-redis-users" (include "switchboard.fullname" .) }}
{{- end }}
{{- end }}

{{- define "switchboard.internalSecret" -}}
{{- if .Values.internalTls.existingSecret }}
{{- .Values.internalTls.existingSecret }}
{{- else if .Values.internalTls.create }}
{{- printf "%s-internal" (include "switchboard.fullname" .) }}
{{- end }}
{{- end }}

{{/* Seconds of a duration in s or m. */}}
{{- define "switchboard.seconds" -}}
{{- if hasSuffix "m" . }}{{ mul 60 (trimSuffix "m" . | int) }}{{ else }}{{ trimSuffix "s" . | int }}{{ end }}
{{- end }}

{{/* What every container of ours may do: nothing special. */}}
{{- define "switchboard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "switchboard.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The environment that routers and gateways share. */}}
{{- define "switchboard.environment" -}}
- name: SWITCHBOARD_STORE
{{- if include "switchboard.redisSecret" . }}
  valueFrom:
    secretKeyRef:
      name: {{ include "switchboard.redisSecret" . }}
      key: url
{{- else if .Values.redis.enabled }}
  value: redis://{{ include "switchboard.fullname" . }}-redis:6379
{{- else if .Values.externalRedis.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.externalRedis.existingSecret }}
      key: {{ .Values.externalRedis.key }}
{{- else }}
  value: {{ required "externalRedis.url or externalRedis.existingSecret is needed where redis.enabled is false" .Values.externalRedis.url | quote }}
{{- end }}
{{- if include "switchboard.internalSecret" . }}
- name: SWITCHBOARD_INTERNAL_TLS_CERT
  value: /run/switchboard/internal/tls.crt
- name: SWITCHBOARD_INTERNAL_TLS_KEY
  value: /run/switchboard/internal/tls.key
- name: SWITCHBOARD_INTERNAL_TLS_CA
  value: /run/switchboard/internal/ca.crt
- name: SWITCHBOARD_INTERNAL_TLS_NAME
  value: {{ .Values.internalTls.name }}
{{- else }}
- name: SWITCHBOARD_INTERNAL_INSECURE
  value: "true"
{{- end }}
- name: SWITCHBOARD_ADMIN_LISTEN
  value: "0.0.0.0:9090"
- name: SWITCHBOARD_LOG
  value: {{ .Values.log.level | quote }}
- name: SWITCHBOARD_LOG_FORMAT
  value: {{ .Values.log.format }}
{{- with .Values.telemetry }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol }}
{{- range list "traces" "metrics" "logs" }}
{{- if not (index $.Values.telemetry .) }}
- name: OTEL_{{ upper . }}_EXPORTER
  value: none
{{- end }}
{{- end }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .sampleRatio | quote }}
- name: OTEL_METRIC_EXPORT_INTERVAL
  value: {{ mul .metricInterval 1000 | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.namespace={{ $.Release.Namespace }}
{{- end }}
{{- end }}
{{- end }}

{{/* Probes on the admin port: only readiness asks for more than "it runs". */}}
{{- define "switchboard.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: admin }
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: { path: /healthz, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Where pods go: (dict "root" $ "component" … "values" .Values.gateway). */}}
{{- define "switchboard.placement" -}}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "switchboard.selector" $ | nindent 8 }}
    # Pods of the version before do not count.
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Rules of a NetworkPolicy to the store and to DNS, for routers and gateways. */}}
{{- define "switchboard.commonEgress" -}}
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- if .Values.redis.enabled }}
- to:
    - podSelector:
        matchLabels:
          {{- include "switchboard.selector" (dict "root" . "component" "redis") | nindent 10 }}
  ports:
    - { port: 6379, protocol: TCP }
{{- else }}
- ports:
    {{- range .Values.externalRedis.ports }}
    - { port: {{ . }}, protocol: TCP }
    {{- end }}
  {{- with .Values.externalRedis.networkPolicyPeers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- with .Values.telemetry.endpoint }}
- ports:
    - { port: {{ (urlParse .).host | splitList ":" | last }}, protocol: TCP }
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "switchboard.monitoringIngress" -}}
- ports:
    - { port: admin, protocol: TCP }
  from:
    {{- toYaml (.Values.networkPolicy.monitoring | default (list (dict "namespaceSelector" dict))) | nindent 4 }}
{{- end }}
