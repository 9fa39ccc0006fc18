{{/* The settings document: what the chart computes, with `.Values.settings` over it. */}}

{{- define "luthien.anyAddress" -}}
{{- if or (eq .Values.ipFamily "IPv6") (ne .Values.service.ipFamilyPolicy "SingleStack") }}[::]{{ else }}0.0.0.0{{ end }}
{{- end }}

{{- define "luthien.settings" -}}
{{- include "luthien.checks.settings" . }}
{{- $any := include "luthien.anyAddress" . }}
{{- $d := dict "version" 1 "log" (dict "format" "json") }}
{{- $_ := set $d "limits" (dict "held_total" "1GiB") }}
{{- $_ := set $d "rules" (include "luthien.settings.rules" . | fromYaml).rules }}
{{- if eq .Values.mode "extproc" }}
{{- $_ := set $d "extproc" (include "luthien.settings.extproc" . | fromYaml) }}
{{- $_ := set $d "timeouts" (dict "drain" (printf "%ds" (int .Values.drain.waitSeconds))) }}
{{- else }}
{{- $_ := set $d "extproc" (dict "listen" "unix:/run/luthien/extproc.sock") }}
{{- $_ := set $d "listen" (ternary "127.0.0.1:8080" (printf "%s:8080" $any) (eq .Values.mode "sidecar")) }}
{{- end }}
{{- $admin := dict "listen" (ternary (printf "%s:8081" $any) "127.0.0.1:8081" .Values.admin.service.enabled) }}
{{- if .Values.admin.existingSecret }}
{{- $_ := set $admin "token" (dict "file" (printf "/etc/luthien/admin/%s" .Values.admin.tokenKey)) }}
{{- with .Values.admin.viewerTokenKey }}
{{- $_ := set $admin "viewer_token" (dict "file" (printf "/etc/luthien/admin/%s" .)) }}
{{- end }}
{{- end }}
{{- $_ := set $d "admin" $admin }}
{{- if .Values.tls.existingSecret }}
{{- $_ := set $d "tls" (dict "cert" "/etc/luthien/tls/tls.crt" "key" "/etc/luthien/tls/tls.key") }}
{{- end }}
{{- if .Values.demo.enabled }}
{{- $url := printf "http://%s:8090" (include "luthien.demo.host" .) }}
{{- $openai := dict "name" "openai" "url" $url "dialects" (list "openai_chat" "openai_responses") }}
{{- $anthropic := dict "name" "anthropic" "url" $url "dialects" (list "anthropic_messages") }}
{{- $_ := set $d "upstreams" (list $openai $anthropic) }}
{{- end }}
{{- mergeOverwrite $d (deepCopy .Values.settings) | toYaml }}
{{- end }}

{{- define "luthien.settings.rules" -}}
rules:
{{- if eq .Values.rules.source "crd" }}
  crd:
    name: {{ include "luthien.fullname" . }}
    service: {{ include "luthien.fullname" . }}
    gateway_api: {{ .Values.rules.gatewayApi }}
    {{- with .Values.rules.watchNamespaces }}
    watch: { namespaces: {{ toJson . }} }
    {{- end }}
  required: {{ .Values.rules.required }}
{{- else if eq .Values.rules.source "watchedConfigMap" }}
  config_map: { name: {{ include "luthien.rulesConfigMap" . }}, key: {{ .Values.rules.key }} }
  required: {{ .Values.rules.required }}
{{- else if .Values.rules.required }}
  file: /etc/luthien/rules/{{ .Values.rules.key }}
  required: true
{{- else }} /etc/luthien/rules/{{ .Values.rules.key }}
{{- end }}
{{- end }}

{{- define "luthien.settings.extproc" -}}
listen: {{ printf "%s:%d" (include "luthien.anyAddress" .) (int .Values.extproc.port) }}
{{- if .Values.extproc.plaintext }}
plaintext: true
{{- else }}
tls:
  cert: /etc/luthien/extproc-tls/tls.crt
  key: /etc/luthien/extproc-tls/tls.key
  client_ca: /etc/luthien/{{ ternary "extproc-client-ca" "extproc-tls" (not (empty .Values.extproc.tls.clientCASecret)) }}/ca.crt
{{- end }}
{{- end }}

{{/* The Secret with the certificate of ext_proc. */}}
{{- define "luthien.extproc.secret" -}}
{{- default (printf "%s-extproc-tls" (include "luthien.fullname" .)) .Values.extproc.tls.existingSecret }}
{{- end }}

{{/* `true` where the state folder is a volume that outlives the pod. */}}
{{- define "luthien.persists" -}}
{{- $recording := default dict (include "luthien.settings" . | fromYaml).recording }}
{{- if kindIs "bool" .Values.persistence.enabled }}
{{- if .Values.persistence.enabled }}true{{ end }}
{{- else if eq .Values.mode "sidecar" }}
{{- else if eq (default "" $recording.audit) "required" }}true
{{- else if not (or $recording.postgres .Values.demo.enabled (eq (toString $recording.level) "off") (eq (toString $recording.level) "false")) }}true
{{- end }}
{{- end }}
