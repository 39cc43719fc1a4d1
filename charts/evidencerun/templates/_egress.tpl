{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "evidencerun.egress.dns" -}}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- define "evidencerun.egress.store" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}}
      podSelector:
        matchLabels: {{- include "evidencerun.selector" "store" | nindent 10 }}
  ports: [{protocol: TCP, port: 8443}]
{{- end }}
{{- /* The API server has no pod that a selector could name. */ -}}
{{- define "evidencerun.egress.api" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
