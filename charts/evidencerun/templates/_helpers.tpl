{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "evidencerun.image" -}}
{{- if not .image.digest -}}
{{- fail (printf "images.%s.digest is empty; expected sha256:<64 hex>. A released chart carries it; from a checkout run `make install-local`, or pass --set images.%s.digest=sha256:..." .name .name) -}}
{{- end -}}
{{ .image.repository }}@{{ .image.digest }}
{{- end -}}

{{- define "evidencerun.images.evidencerun" -}}
{{ include "evidencerun.image" (dict "name" "evidencerun" "image" .Values.images.evidencerun) }}
{{- end -}}

{{- define "evidencerun.images.probe" -}}
{{ include "evidencerun.image" (dict "name" "probe" "image" .Values.images.probe) }}
{{- end -}}

{{- define "evidencerun.chartLabels" -}}
app.kubernetes.io/part-of: evidencerun
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* A namespace that the chart makes: root, name, enforce, and what else its metadata has (YAML text). */ -}}
{{- define "evidencerun.namespace" -}}
{{- $labels := merge (deepCopy .root.Values.namespaces.labels) (fromYaml (include "evidencerun.chartLabels" .root)) -}}
{{- $_ := set $labels "pod-security.kubernetes.io/enforce" .enforce -}}
{{- with .warn }}{{ $_ := set $labels "pod-security.kubernetes.io/warn" . }}{{ end -}}
{{- $annotations := merge (deepCopy (default dict .annotations)) .root.Values.namespaces.annotations -}}
apiVersion: v1
kind: Namespace
metadata:
  name: {{ .name }}
  labels: {{- toYaml $labels | nindent 4 }}
  {{- with $annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- /* Selector of one of the three standing parts; takes its name. */ -}}
{{- define "evidencerun.selector" -}}
app.kubernetes.io/name: evidencerun
app.kubernetes.io/component: {{ . }}
{{- end -}}

{{- define "evidencerun.podMetadata" -}}
labels:
  {{- include "evidencerun.selector" .component | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  {{- with .root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "evidencerun.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "evidencerun.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "evidencerun.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- /* A lost node: half a minute instead of Kubernetes' five before the pod is given up. The first toleration that fits a
       taint counts, so these stand before one of everything, which would keep pods on a lost node for ever. */}}
tolerations:
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
{{- with .Values.tolerations }}
{{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "evidencerun.namespaceEnv" -}}
- {name: EVIDENCERUN_SYSTEM_NAMESPACE, value: {{ .Release.Namespace | quote }}}
- {name: EVIDENCERUN_PROBES_NAMESPACE, value: {{ .Values.namespaces.probes | quote }}}
- {name: EVIDENCERUN_CHECKS_NAMESPACE, value: {{ .Values.namespaces.checks | quote }}}
- {name: EVIDENCERUN_RUN_NAMESPACES, value: {{ join "," .Values.runNamespaces | quote }}}
{{- end -}}

{{- define "evidencerun.storeURL" -}}
https://evidence-store.{{ .Release.Namespace }}.svc
{{- end -}}

{{- /* A token for the store, bound to the pod, renewed by the kubelet. */ -}}
{{- define "evidencerun.storeToken" -}}
- name: store-token
  projected:
    sources:
      - serviceAccountToken:
          audience: https://evidencerun.dev/store
          expirationSeconds: 3600
          path: token
{{- end -}}

{{- define "evidencerun.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "evidencerun.chartLabels" .root | nindent 4 }}
automountServiceAccountToken: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* A Role or ClusterRole and its binding: kind, name, namespace, rules (YAML text), account, accountNamespace. */ -}}
{{- define "evidencerun.grant" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "evidencerun.chartLabels" .root | nindent 4 }}
rules: {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "evidencerun.chartLabels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .accountNamespace }}
{{- end -}}
