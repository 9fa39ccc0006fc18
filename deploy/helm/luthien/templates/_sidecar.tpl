{{/* What is merged into a Deployment, StatefulSet or Job of somebody's agent. The names begin with `luthien-`. */}}

{{- define "luthien.sidecar.patch" -}}
{{- $parts := dict "root" . "prefix" "luthien-" "mode" 292 "native" true }}
spec:
  template:
    metadata:
      annotations:
        luthien.dev/checksum-config: {{ include "luthien.settings" . | sha256sum }}
    spec:
      initContainers:
        {{- include "luthien.container.config" $parts | trim | nindent 8 }}
        {{- include "luthien.container.serve" $parts | trim | nindent 8 }}
        {{- include "luthien.container.envoy" $parts | trim | nindent 8 }}
      {{- with .Values.sidecar.container }}
      containers:
        - name: {{ . }}
          env:
            - { name: ANTHROPIC_BASE_URL, value: "http://127.0.0.1:8080" }
            - { name: OPENAI_BASE_URL, value: "http://127.0.0.1:8080/v1" }
      {{- end }}
      volumes:
        - name: luthien-state
          emptyDir: { sizeLimit: {{ .Values.persistence.size }} }
        {{- include "luthien.volumes" $parts | trim | nindent 8 }}
{{- end }}
