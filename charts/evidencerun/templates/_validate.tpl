{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- /* What a schema cannot say: how values and the release fit together. Renders nothing, or fails. */ -}}
{{- define "evidencerun.validate" -}}
{{- $system := list "default" "kube-system" "kube-public" "kube-node-lease" -}}
{{- $own := list .Release.Namespace .Values.namespaces.probes .Values.namespaces.checks -}}
{{- if has .Release.Namespace $system -}}
{{- fail (printf "the release's namespace is %s; expected one of its own, for whoever may create pods there can sign; fix: -n evidencerun-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- if ne (len (uniq $own)) 3 -}}
{{- fail (printf "the release's namespace, namespaces.probes and namespaces.checks are %s; expected three different ones" (join ", " $own)) -}}
{{- end -}}
{{- range list .Values.namespaces.probes .Values.namespaces.checks -}}
{{- if has . $system -}}
{{- fail (printf "namespaces.probes or namespaces.checks is %s; expected a namespace in which only the operator creates" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.runNamespaces -}}
{{- if has . (concat $own $system) -}}
{{- fail (printf "runNamespaces holds %s; expected namespaces of tenants: neither the release's own (%s) nor the cluster's (%s)" . (join ", " $own) (join ", " $system)) -}}
{{- end -}}
{{- end -}}
{{- range .Values.policy.catalog -}}
{{- if and (eq (toString .rights) "aicr-wide") (not $.Values.checks.wideRights) -}}
{{- fail (printf "policy.catalog: check %s has rights aicr-wide, for which there is no account; fix: checks.wideRights=true, or other rights" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
