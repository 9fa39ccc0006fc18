{{/* What the attachments to Envoy Gateway and Istio share. docs/attach.md says what each object does. */}}

{{/* The providers of the settings: `upstreams`, each with `name`, `object` (as objects are called after it, apart from the release's own
by `-to-`), `host`, `port`, `tls` and `literal` (the host is an IP address). */}}
{{- define "luthien.attach.upstreams" -}}
{{- $full := include "luthien.fullname" . }}
upstreams:
{{- range (include "luthien.settings" . | fromYaml).upstreams }}
{{- $url := urlParse .url }}
{{- $tls := eq $url.scheme "https" }}
{{- $host := regexReplaceAll ":[0-9]+$" $url.host "" | trimPrefix "[" | trimSuffix "]" | lower }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
  - name: {{ .name | quote }}
    object: {{ printf "%s-to-%s" $full (.name | replace "_" "-") | trunc 63 | trimAll "-" | quote }}
    host: {{ $host | quote }}
    port: {{ default (ternary "443" "80" $tls) $port }}
    tls: {{ $tls }}
    literal: {{ or (regexMatch "^[0-9.]+$" $host) (contains ":" $host) }}
    ca: {{ default "" .ca | quote }}
{{- else }} []
{{- end }}
{{- end }}

{{/* The same by hosts: `hosts`, each with `object` (of its first upstream), `host`, and `ports`, each with `port` and `tls`. Istio takes one
ServiceEntry and one DestinationRule of a host, and of several sometimes this one and sometimes that. */}}
{{- define "luthien.attach.hosts" -}}
{{- $hosts := dict }}
{{- $order := list }}
{{- range (include "luthien.attach.upstreams" . | fromYaml).upstreams }}
{{- $known := default (dict "object" .object "host" .host "ports" dict) (get $hosts .host) }}
{{- $port := toString .port }}
{{- $other := get $known.ports $port }}
{{- if and $other (ne $other.tls .tls) }}
{{- fail (printf "settings.upstreams: `%s` and `%s` have the same host and port, one with https and one with http, and Istio knows a port once; make both the same" $other.name .name) }}
{{- end }}
{{- if not $other }}
{{- $_ := set $known.ports $port (dict "port" .port "tls" .tls "name" .name) }}
{{- end }}
{{- if not (hasKey $hosts .host) }}
{{- $order = append $order .host }}
{{- end }}
{{- $_ := set $hosts .host $known }}
{{- end }}
hosts:
{{- range $order }}
{{- $known := get $hosts . }}
  - object: {{ $known.object | quote }}
    host: {{ . | quote }}
    ports:
      {{- range $known.ports }}
      - {{ toJson . }}
      {{- end }}
{{- else }} []
{{- end }}
{{- end }}

{{/* Above `limits.calls`, as Luthien's own generator has it; 2000 is its default. */}}
{{- define "luthien.attach.calls" -}}
{{- $limits := default dict (include "luthien.settings" . | fromYaml).limits }}
{{- add (mul 4 (int (default 2000 $limits.calls))) 4096 }}
{{- end }}

{{/* Where Luthien is. */}}
{{- define "luthien.attach.host" -}}
{{ include "luthien.fullname" . }}.{{ .Release.Namespace }}.svc.cluster.local
{{- end }}

{{/* None of a provider's business. */}}
{{- define "luthien.attach.hidden" -}}
- x-luthien-upstream
- x-luthien-call-id
- x-luthien-client
- x-luthien-policy
- x-luthien-dropped
- x-forwarded-for
- x-forwarded-proto
- x-forwarded-host
- x-request-id
- x-envoy-external-address
- x-envoy-internal
- x-envoy-attempt-count
- x-envoy-expected-rq-timeout-ms
{{- end }}

{{/* What a call gets whose upstream has no route: never a provider. */}}
{{- define "luthien.attach.unrouted" -}}
{"type":"error","error":{"type":"api_error","message":"Luthien named an upstream for which this gateway has no route"}}
{{- end }}

{{/* What is refused for both. */}}
{{- define "luthien.attach.checks" -}}
{{- $which := .which }}
{{- with .root }}
{{- if ne .Values.mode "extproc" }}
{{- fail (printf "%s.enabled attaches a Luthien that runs by itself to an Envoy that is there; set mode=extproc" $which) }}
{{- end }}
{{- if and .Values.envoyGateway.enabled .Values.istio.enabled }}
{{- fail "envoyGateway.enabled and istio.enabled exclude each other; install a release for each" }}
{{- end }}
{{- $objects := dict }}
{{- range (include "luthien.attach.upstreams" . | fromYaml).upstreams }}
{{- $name := .name }}
{{- with get $objects .object }}
{{- fail (printf "settings.upstreams: `%s` and `%s` both give objects called %s; rename one of the two" .name $name .object) }}
{{- end }}
{{- $_ := set $objects .object . }}
{{- if .ca }}
{{- fail (printf "settings.upstreams: `%s` has `ca`, a file of Luthien's; here the gateway connects to providers: leave it out, and see docs/attach.md for an authority of your own" .name) }}
{{- end }}
{{- if and .literal (or .tls (eq $which "istio") (contains ":" .host)) }}
{{- fail (printf "settings.upstreams: the url of `%s` names its host by an IP address, which %s cannot %s; use a DNS name" .name $which (ternary "verify a certificate for" "route to" .tls)) }}
{{- end }}
{{- if not .host }}
{{- fail (printf "settings.upstreams: the url of `%s` has no host" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
