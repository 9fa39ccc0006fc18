{{/* Peers and ports of the NetworkPolicy. */}}

{{/* Link-local addresses, where clouds answer with credentials of the node, and their like; also as NAT64 has them (64:ff9b::/96). */}}
{{- define "luthien.net.metadata4" -}}
["169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"]
{{- end }}
{{- define "luthien.net.metadata6" -}}
["fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128", "64:ff9b::a9fe:0/112", "64:ff9b::6464:64c8/128", "64:ff9b::a83f:8110/128"]
{{- end }}

{{/* Everywhere else. Pods are said apart, because to some networks an ipBlock means no pod. */}}
{{- define "luthien.net.anywhere" -}}
- namespaceSelector: {}
- ipBlock: { cidr: 0.0.0.0/0, except: {{ include "luthien.net.metadata4" . }} }
- ipBlock: { cidr: "::/0", except: {{ include "luthien.net.metadata6" . }} }
{{- end }}

{{/* Outside: what no private network uses. */}}
{{- define "luthien.net.public" -}}
- ipBlock: { cidr: 0.0.0.0/0, except: [10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16/32, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16] }
- ipBlock: { cidr: "::/0", except: ["::1/128", "fc00::/7", "fe80::/10", "64:ff9b::a00:0/104", "64:ff9b::6440:0/106", "64:ff9b::7f00:0/104", "64:ff9b::a83f:8110/128", "64:ff9b::a9fe:0/112", "64:ff9b::ac10:0/108", "64:ff9b::c0a8:0/112"] }
{{- end }}

{{/* The port of a URL: of `url`, or its scheme's, or `default`. */}}
{{- define "luthien.net.port" -}}
{{- $url := urlParse .url }}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) }}
{{- $schemes := dict "http" "80" "https" "443" }}
{{- default (default .default (get $schemes $url.scheme)) $port }}
{{- end }}

{{/* An egress rule to `peers`, or anywhere, at `port`. */}}
{{- define "luthien.net.rule" -}}
- to:
    {{- if .peers }}
    {{- toYaml .peers | nindent 4 }}
    {{- else }}
    {{- include "luthien.net.anywhere" . | nindent 4 }}
    {{- end }}
  ports: [{ protocol: TCP, port: {{ .port }} }]
{{- end }}

{{- define "luthien.net.collector" -}}
{{- $settings := include "luthien.settings" . | fromYaml }}
{{- $found := dig "telemetry" "traces" "endpoint" "" $settings }}
{{- range .Values.extraEnv }}
{{- if and (not $found) (has .name (list "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" "OTEL_EXPORTER_OTLP_ENDPOINT")) }}
{{- $found = default "" .value }}
{{- end }}
{{- end }}
{{- $found }}
{{- end }}

{{/* Ports of upstreams and remotes other than 443, as one list. */}}
{{- define "luthien.net.otherPorts" -}}
{{- $settings := include "luthien.settings" . | fromYaml }}
{{- $ports := list }}
{{- range concat (default list $settings.upstreams) (default list $settings.remotes) }}
{{- $ports = append $ports (include "luthien.net.port" (dict "url" .url "default" "443")) }}
{{- end }}
{{- without ($ports | uniq | sortAlpha) "443" | join "," }}
{{- end }}

{{/* Rules, not peers: DNS. */}}
{{- define "luthien.net.dns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- end }}

{{/* `true` where the pods are in a mesh. */}}
{{- define "luthien.net.meshed" -}}
{{- $enabled := .Values.networkPolicy.mesh.enabled }}
{{- if kindIs "bool" $enabled }}
{{- if $enabled }}true{{ end }}
{{- else if and (eq .Values.mode "extproc") .Values.extproc.plaintext }}true
{{- end }}
{{- end }}

{{/* Ports of the mesh's as those of a rule. */}}
{{- define "luthien.net.ports" -}}
{{- range . }}
- { protocol: TCP, port: {{ . }} }
{{- end }}
{{- end }}

{{/* What a mesh's pods ask for: its control plane, and the tunnels of other pods. */}}
{{- define "luthien.net.mesh.egress" -}}
{{- with .Values.networkPolicy.mesh }}
{{- if and .controlPlane .ports }}
- to:
    {{- toYaml .controlPlane | nindent 4 }}
  ports:
    {{- include "luthien.net.ports" .ports | trim | nindent 4 }}
{{- end }}
{{- if .tunnelPorts }}
- to: [{ namespaceSelector: {} }]
  ports:
    {{- include "luthien.net.ports" .tunnelPorts | trim | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}
