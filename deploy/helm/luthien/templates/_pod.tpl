{{/*
Containers and volumes. All take a dict: `root`; `prefix`, which tells them apart in somebody else's pod; `mode`, of mounted Secrets;
`token`, whether there may be one for the API server.
*/}}

{{- define "luthien.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "luthien.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "luthien.podAddress" -}}
{{- if eq .Values.ipFamily "IPv6" }}[$(POD_IP)]{{ else }}$(POD_IP){{ end }}
{{- end }}

{{- define "luthien.env" -}}
{{- $root := .root }}
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
{{- if include "luthien.asksApiServer" $root }}
# How this replica is called in the Lease.
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
{{- end }}
- { name: LUTHIEN_CONFIG, value: /etc/luthien/settings/luthien.yaml }
- { name: LUTHIEN_STATE_DIR, value: /var/lib/luthien }
- name: LUTHIEN_PROBE_LISTEN
  value: "{{ include "luthien.podAddress" $root }}:8082"
{{- if ne $root.Values.mode "extproc" }}
- name: LUTHIEN_TELEMETRY_METRICS_ENVOY_LISTEN
  value: "{{ include "luthien.podAddress" $root }}:8083"
{{- end }}
{{- with $root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What Luthien's containers read. */}}
{{- define "luthien.mounts" -}}
{{- $root := .root }}
{{- $prefix := .prefix }}
{{- if ne $root.Values.mode "extproc" }}
- { name: {{ $prefix }}run, mountPath: /run/luthien }
{{- end }}
- { name: {{ $prefix }}settings, mountPath: /etc/luthien/settings, readOnly: true }
{{- if eq $root.Values.rules.source "configMap" }}
- { name: {{ $prefix }}rules, mountPath: /etc/luthien/rules, readOnly: true }
{{- end }}
{{- if $root.Values.admin.existingSecret }}
- { name: {{ $prefix }}admin, mountPath: /etc/luthien/admin, readOnly: true }
{{- end }}
{{- if $root.Values.tls.existingSecret }}
- { name: {{ $prefix }}tls, mountPath: /etc/luthien/tls, readOnly: true }
{{- end }}
{{- if and (eq $root.Values.mode "extproc") (not $root.Values.extproc.plaintext) }}
- { name: {{ $prefix }}extproc-tls, mountPath: /etc/luthien/extproc-tls, readOnly: true }
{{- if $root.Values.extproc.tls.clientCASecret }}
- { name: {{ $prefix }}extproc-client-ca, mountPath: /etc/luthien/extproc-client-ca, readOnly: true }
{{- end }}
{{- end }}
{{- range $root.Values.secrets }}
- { name: {{ $prefix }}secret-{{ . | replace "." "-" }}, mountPath: /etc/luthien/secrets/{{ . }}, readOnly: true }
{{- end }}
{{- with $root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Writes Envoy's configuration, and the program for Envoy's preStop. */}}
{{- define "luthien.container.config" -}}
{{- $root := .root }}
- name: {{ .prefix }}envoy-config
  image: {{ include "luthien.image" (dict "image" $root.Values.image "tag" $root.Chart.AppVersion) }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  args: [envoy-config, --sidecar, --output, /run/luthien/envoy.yaml, --install-program, /run/luthien/luthien]
  env:
    {{- include "luthien.env" . | trim | nindent 4 }}
  resources:
    {{- toYaml $root.Values.resources | nindent 4 }}
  securityContext:
    {{- include "luthien.containerSecurity" $root | nindent 4 }}
  volumeMounts:
    {{- include "luthien.mounts" . | trim | nindent 4 }}
{{- end }}

{{/* Luthien itself; `native` makes it an init container that keeps running. */}}
{{- define "luthien.container.serve" -}}
{{- $root := .root }}
{{- $extproc := eq $root.Values.mode "extproc" }}
- name: {{ default "luthien" .name }}
  image: {{ include "luthien.image" (dict "image" $root.Values.image "tag" $root.Chart.AppVersion) }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  {{- if .native }}
  restartPolicy: Always
  {{- end }}
  args: [serve]
  env:
    {{- include "luthien.env" . | trim | nindent 4 }}
  ports:
    {{- if $extproc }}
    - { name: extproc, containerPort: {{ $root.Values.extproc.port }}, protocol: TCP }
    {{- end }}
    {{- if $root.Values.admin.service.enabled }}
    - { name: admin, containerPort: 8081, protocol: TCP }
    {{- end }}
    - { name: probe, containerPort: 8082, protocol: TCP }
  startupProbe:
    httpGet: { path: /healthz, port: 8082 }
    periodSeconds: 1
    failureThreshold: 120
  livenessProbe:
    httpGet: { path: /healthz, port: 8082 }
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet: { path: /readyz, port: 8082 }
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 2
  {{- if $extproc }}
  # Envoy, elsewhere, first has to notice that this pod goes.
  lifecycle: { preStop: { exec: { command: [luthien, drain, --notice, 15s, --dir, /var/lib/luthien] } } }
  {{- else if not .native }}
  # It is asked to stop at the same time as Envoy, and has to outlive it.
  lifecycle:
    preStop: { exec: { command: [luthien, drain, --wait, {{ $root.Values.drain.waitSeconds }}s] } }
  {{- end }}
  resources:
    {{- toYaml $root.Values.resources | nindent 4 }}
  securityContext:
    {{- include "luthien.containerSecurity" $root | nindent 4 }}
  volumeMounts:
    - { name: {{ .prefix }}state, mountPath: /var/lib/luthien }
    {{- include "luthien.mounts" . | trim | nindent 4 }}
    {{- if include "luthien.asksApiServer" $root }}
    - { name: {{ .prefix }}token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
    {{- end }}
{{- end }}

{{- define "luthien.envoy.ready" -}}
{{- if eq .Values.mode "sidecar" -}}
exec: { command: [/run/luthien/luthien, healthcheck, "http://127.0.0.1:8080/readyz"] }
{{- else -}}
httpGet: { path: /readyz, port: 8080, scheme: {{ ternary "HTTPS" "HTTP" (not (empty .Values.tls.existingSecret)) }} }
{{- end }}
{{- end }}

{{- define "luthien.container.envoy" -}}
{{- $root := .root }}
{{- $sidecar := eq $root.Values.mode "sidecar" }}
- name: {{ .prefix }}envoy
  image: {{ include "luthien.image" (dict "image" $root.Values.envoy.image "tag" "") }}
  imagePullPolicy: {{ $root.Values.envoy.image.pullPolicy }}
  {{- if .native }}
  restartPolicy: Always
  {{- end }}
  command: [/usr/local/bin/envoy]
  args:
    - --config-path
    - /run/luthien/envoy.yaml
    - --concurrency
    - {{ $root.Values.envoy.concurrency | quote }}
    - --drain-time-s
    - {{ $root.Values.envoy.drainTimeSeconds | quote }}
    - --disable-hot-restart
    - --log-level
    - {{ $root.Values.envoy.logLevel }}
    - --log-format
    - '{"level":"%l","component":"%n","message":"%j"}'
  ports:
    {{- if not $sidecar }}
    - { name: clients, containerPort: 8080, protocol: TCP }
    {{- end }}
    - { name: envoy-metrics, containerPort: 8083, protocol: TCP }
  # At /readyz it answers 503 once it is to end. Where only the pod itself can ask, the program does.
  startupProbe:
    {{- include "luthien.envoy.ready" $root | nindent 4 }}
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    {{- include "luthien.envoy.ready" $root | nindent 4 }}
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 2
  livenessProbe:
    tcpSocket: { port: 8083 }
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- if not $sidecar }}
  # Its image has no shell; the program is there because the init container put it there. Beside an agent there is nothing to wait for:
  # the kubelet runs this together with the agent's, and asks sidecars to end once the agent has.
  lifecycle:
    preStop: { exec: { command: [/run/luthien/luthien, drain, --wait, {{ $root.Values.drain.waitSeconds }}s] } }
  {{- end }}
  resources:
    {{- toYaml $root.Values.envoy.resources | nindent 4 }}
  securityContext:
    {{- include "luthien.containerSecurity" $root | nindent 4 }}
  volumeMounts:
    - { name: {{ .prefix }}run, mountPath: /run/luthien }
    {{- if $root.Values.tls.existingSecret }}
    - { name: {{ .prefix }}tls, mountPath: /etc/luthien/tls, readOnly: true }
    {{- end }}
    {{- with $root.Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* All volumes but the state's, which may be a claim. */}}
{{- define "luthien.volumes" -}}
{{- $root := .root }}
{{- $prefix := .prefix }}
{{- $name := include "luthien.fullname" $root }}
{{- if ne $root.Values.mode "extproc" }}
- name: {{ $prefix }}run
  emptyDir: { sizeLimit: 512Mi }
{{- end }}
- name: {{ $prefix }}settings
  configMap: { name: {{ $name }}-settings }
{{- if eq $root.Values.rules.source "configMap" }}
- name: {{ $prefix }}rules
  configMap: { name: {{ include "luthien.rulesConfigMap" $root }} }
{{- end }}
{{- with $root.Values.admin.existingSecret }}
- name: {{ $prefix }}admin
  secret: { secretName: {{ . | quote }}, defaultMode: {{ $.mode }} }
{{- end }}
{{- with $root.Values.tls.existingSecret }}
- name: {{ $prefix }}tls
  secret: { secretName: {{ . | quote }}, defaultMode: {{ $.mode }} }
{{- end }}
{{- if and (eq $root.Values.mode "extproc") (not $root.Values.extproc.plaintext) }}
- name: {{ $prefix }}extproc-tls
  secret: { secretName: {{ include "luthien.extproc.secret" $root }}, defaultMode: {{ $.mode }} }
{{- with $root.Values.extproc.tls.clientCASecret }}
- name: {{ $prefix }}extproc-client-ca
  secret: { secretName: {{ . | quote }}, defaultMode: {{ $.mode }} }
{{- end }}
{{- end }}
{{- range $root.Values.secrets }}
- name: {{ $prefix }}secret-{{ . | replace "." "-" }}
  secret: { secretName: {{ . | quote }}, defaultMode: {{ $.mode }} }
{{- end }}
{{- if and .token (include "luthien.asksApiServer" $root) }}
# For Luthien's container alone; the others have no token.
- name: {{ $prefix }}token
  projected:
    defaultMode: {{ $.mode }}
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3607 }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
      - downwardAPI: { items: [{ path: namespace, fieldRef: { apiVersion: v1, fieldPath: metadata.namespace } }] }
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
