{{/* Parts of the pods of `helm test`. */}}

{{- define "luthien.test.label" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}, app.kubernetes.io/component: test
{{- end }}

{{- define "luthien.test.container" -}}
resources:
  requests: { cpu: 10m, memory: 32Mi }
  limits: { memory: 128Mi }
securityContext:
  {{- include "luthien.containerSecurity" . | nindent 2 }}
{{- end }}
