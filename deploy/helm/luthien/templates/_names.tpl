{{/* Names, labels and images. */}}

{{- define "luthien.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* 40 characters at most: the longest name made of it is FULLNAME-rules-last-good, and label values end at 63. Without dots, which names of Services do
not have. */}}
{{- define "luthien.fullname" -}}
{{- $name := include "luthien.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of an object in `namespace`. Elsewhere than in the release's own, that is in it: two releases may be called the same. */}}
{{- define "luthien.nameIn" -}}
{{- if ne .namespace .root.Release.Namespace }}{{ .root.Release.Namespace }}.{{ end }}{{ .name }}
{{- end }}

{{- define "luthien.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "luthien.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: luthien
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects Luthien's own pods. It must never change: a Deployment's selector cannot. */}}
{{- define "luthien.selectorLabels" -}}
app.kubernetes.io/name: {{ include "luthien.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "luthien.demo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "luthien.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: demo
{{- end }}

{{- define "luthien.demo.host" -}}
{{ include "luthien.fullname" . }}-demo.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "luthien.image" -}}
{{- $image := .image }}
{{- printf "%s:%s" $image.repository (default .tag $image.tag) }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "luthien.serviceAccountName" -}}
{{- default (include "luthien.fullname" .) .Values.serviceAccount.existing }}
{{- end }}

{{/* `true` where rules come from the API server. */}}
{{- define "luthien.asksApiServer" -}}
{{- if ne .Values.rules.source "configMap" }}true{{ end }}
{{- end }}

{{- define "luthien.rulesConfigMap" -}}
{{- default (printf "%s-rules" (include "luthien.fullname" .)) .Values.rules.existingConfigMap }}
{{- end }}

{{- define "luthien.service.port" -}}
{{- default (ternary 443 80 (not (empty .Values.tls.existingSecret))) .Values.service.port }}
{{- end }}
