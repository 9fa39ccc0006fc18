{{/* What a schema cannot say. Each message names the value and the remedy. */}}

{{- define "luthien.checks" -}}
{{- include "luthien.checks.records" . }}
{{- include "luthien.checks.exposed" . }}
{{- include "luthien.checks.mode" . }}
{{- include "luthien.checks.names" . }}
{{- end }}

{{/* What the API server would refuse because it is there twice. */}}
{{- define "luthien.checks.names" -}}
{{- $volumes := dict }}
{{- range list "run" "state" "settings" "rules" "admin" "tls" "token" "extproc-tls" "extproc-client-ca" }}
{{- $_ := set $volumes . "the chart" }}
{{- end }}
{{- range .Values.secrets }}
{{- $secret := . }}
{{- $volume := printf "secret-%s" (. | replace "." "-") }}
{{- with get $volumes $volume }}
{{- fail (printf "secrets: `%s` would have the volume of %s, because a dot is a hyphen there; rename one of the two" $secret .) }}
{{- end }}
{{- if gt (len .) 48 }}
{{- fail (printf "secrets: the name `%s` is too long for a volume; use 48 characters at most" .) }}
{{- end }}
{{- $_ := set $volumes $volume (printf "the Secret `%s`" .) }}
{{- end }}
{{- range .Values.extraVolumes }}
{{- if hasKey $volumes .name }}
{{- fail (printf "extraVolumes: `%s` is a volume of the chart's; give it another name" .name) }}
{{- end }}
{{- end }}
{{- range $key, $labels := dict "podLabels" .Values.podLabels "serviceMonitor.labels" .Values.serviceMonitor.labels "prometheusRule.labels" .Values.prometheusRule.labels "dashboards.labels" .Values.dashboards.labels }}
{{- range $label, $_ := $labels }}
{{- if hasKey $.Values.commonLabels $label }}
{{- fail (printf "%s and commonLabels both have the label `%s`; leave it out of one of the two" $key $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- range list "checksum/config" "kubectl.kubernetes.io/default-container" }}
{{- if hasKey $.Values.podAnnotations . }}
{{- fail (printf "podAnnotations: `%s` is what the chart computes; leave it out" .) }}
{{- end }}
{{- end }}
{{- if and (eq .Values.mode "extproc") (has (int .Values.extproc.port) (list 8081 8082)) }}
{{- fail (printf "extproc.port: %d is that of the admin pages (8081) or of probes (8082); use another one" (int .Values.extproc.port)) }}
{{- end }}
{{- end }}

{{/* Asked before the settings are put together, which would stumble over some of this. */}}
{{- define "luthien.checks.settings" -}}
{{- $given := .Values.settings }}
{{- $remedies := dict
  "listen" "clients reach port 8080 of the pod; `service.port` is the Service's"
  "extproc" "see `mode` and `extproc`"
  "probe" "probes are at port 8082 of the pod"
  "rules" "see `rules`"
  "tls" "set `tls.existingSecret`" }}
{{- range $key, $remedy := $remedies }}
{{- if hasKey $given $key }}
{{- fail (printf "settings.%s is what the chart computes; remove it: %s" $key $remedy) }}
{{- end }}
{{- end }}
{{- $admin := default dict $given.admin }}
{{- range list "listen" "token" "viewer_token" }}
{{- if hasKey $admin . }}
{{- fail (printf "settings.admin.%s is what the chart computes; remove it, and see the value `admin`" .) }}
{{- end }}
{{- end }}
{{- if and (eq .Values.mode "extproc") (dig "timeouts" "drain" "" $given) }}
{{- fail "settings.timeouts.drain is what the chart computes; remove it: set `drain.waitSeconds`, by which the pods get their time too" }}
{{- end }}
{{- if dig "telemetry" "metrics" "envoy_listen" "" $given }}
{{- fail "settings.telemetry.metrics.envoy_listen is what the chart computes; remove it: Envoy's metrics are at port 8083 of the pod" }}
{{- end }}
{{- if and .Values.demo.enabled $given.upstreams }}
{{- fail "demo.enabled puts the demo provider in the place of settings.upstreams; remove one of the two" }}
{{- end }}
{{- if not (or .Values.demo.enabled $given.upstreams) }}
{{- fail "there is no provider: list them in settings.upstreams as in config/luthien.yaml, or set demo.enabled=true to try Luthien without keys" }}
{{- end }}
{{- if and $given.upstreams (not (kindIs "slice" $given.upstreams)) }}
{{- fail "settings.upstreams must be a list here, because pods have no keys in their environment; name each provider, or set demo.enabled=true" }}
{{- end }}
{{- range $given.upstreams }}
{{- if eq (toString .url) "demo" }}
{{- fail (printf "the upstream `%s` has `url: demo`, which is for one machine; set demo.enabled=true in place of settings.upstreams" .name) }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "LUTHIEN_" .name }}
{{- fail (printf "extraEnv has %s, which would be stronger than what the chart computes; write it into `settings`" .name) }}
{{- end }}
{{- if and .value (regexMatch "(KEY|TOKEN|PASSWORD|SECRET)$" .name) }}
{{- fail (printf "extraEnv has the value of %s, which everybody reads who may read the release; take it from a Secret with `valueFrom.secretKeyRef`" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "luthien.checks.records" -}}
{{- $recording := default dict (include "luthien.settings" . | fromYaml).recording }}
{{- $level := toString $recording.level }}
{{- $sqlite := not (or $recording.postgres (eq $level "off") (eq $level "false")) }}
{{- if and $sqlite (ne .Values.mode "sidecar") }}
{{- if .Values.autoscaling.enabled }}
{{- fail "autoscaling.enabled needs settings.recording.postgres: with SQLite each pod would show only calls of its own" }}
{{- end }}
{{- if gt (int .Values.replicas) 1 }}
{{- fail (printf "replicas: %d needs settings.recording.postgres: with SQLite each pod would show only calls of its own" (int .Values.replicas)) }}
{{- end }}
{{- if and (kindIs "bool" .Values.persistence.enabled) (not .Values.persistence.enabled) (not .Values.demo.enabled) }}
{{- fail "persistence.enabled: false would lose all records with the pod: leave it away, or set settings.recording.postgres or settings.recording.level: off" }}
{{- end }}
{{- end }}
{{- if and (eq (toString $recording.audit) "required") (not (include "luthien.persists" .)) }}
{{- fail "settings.recording.audit: required needs a volume for what waits to be recorded; set persistence.enabled=true (there is none in mode sidecar)" }}
{{- end }}
{{- end }}

{{- define "luthien.checks.exposed" -}}
{{- if and .Values.admin.service.enabled (not .Values.admin.existingSecret) }}
{{- fail "admin.service.enabled opens the admin pages to the cluster and needs a token: create a Secret with one, and set admin.existingSecret to its name" }}
{{- end }}
{{- if and .Values.admin.viewerTokenKey (not .Values.admin.existingSecret) }}
{{- fail "admin.viewerTokenKey needs admin.existingSecret, in which it is a key" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.targetCPU) (not .Values.autoscaling.targetCallsInFlight) }}
{{- fail "autoscaling has nothing to go by: set autoscaling.targetCPU or autoscaling.targetCallsInFlight" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end }}
{{- end }}

{{- define "luthien.checks.mode" -}}
{{- $tls := .Values.extproc.tls }}
{{- if and .Values.tls.existingSecret (ne .Values.mode "gateway") }}
{{- fail (printf "tls.existingSecret is for mode gateway; in mode %s clients do not come over the network, or to another Envoy" .Values.mode) }}
{{- end }}
{{- if eq .Values.mode "extproc" }}
{{- $ways := 0 }}
{{- if .Values.extproc.plaintext }}{{ $ways = add1 $ways }}{{ end }}
{{- if $tls.existingSecret }}{{ $ways = add1 $ways }}{{ end }}
{{- if $tls.certManager.enabled }}{{ $ways = add1 $ways }}{{ end }}
{{- if ne (int $ways) 1 }}
{{- fail "mode extproc needs exactly one of extproc.tls.existingSecret, extproc.tls.certManager.enabled and, where a mesh encrypts and authenticates, extproc.plaintext" }}
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
{{- fail "extproc.tls.certManager.issuerRef.name is empty; name an Issuer or ClusterIssuer of cert-manager" }}
{{- end }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
{{- if not .Values.admin.existingSecret }}
{{- fail "mode sidecar needs admin.existingSecret: the agent shares the pod's loopback, and without a token could read the records and change what is there" }}
{{- end }}
{{- if .Values.admin.service.enabled }}
{{- fail "admin.service is not for mode sidecar; use `kubectl port-forward` to the agent's pod" }}
{{- end }}
{{- if .Values.persistence.enabled }}
{{- fail "persistence is not for mode sidecar: the pods are somebody else's; set settings.recording.postgres to keep records" }}
{{- end }}
{{- if include "luthien.asksApiServer" . }}
{{- fail (printf "rules.source: %s is not for mode sidecar: the pods run as the agent's service account, which should not get rights for it; use configMap" .Values.rules.source) }}
{{- end }}
{{- end }}
{{- end }}
