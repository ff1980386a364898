{{- /* Name of all objects of the operator. */ -}}
{{- define "vectorcache.fullname" -}}
{{- .Values.fullnameOverride | default "vectorcache-operator" -}}
{{- end }}

{{- define "vectorcache.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "vectorcache.fullname" .) -}}
{{- end }}

{{- /* One of the three images: (list root name). */ -}}
{{- define "vectorcache.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $image := $root.Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $name -}}
{{- if not (contains "@" $name) }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- /*
Labels that select the operator's pods. They must be the same in every version, because a Deployment's selector is immutable.
Network policies of caches admit pods with the first label.
*/ -}}
{{- define "vectorcache.selector" -}}
app.kubernetes.io/name: vectorcache-operator
{{- with .Values.fullnameOverride }}
app.kubernetes.io/instance: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* Labels and annotations of an object: (dict "root" . "labels" {} "annotations" {}), the latter two are optional. */ -}}
{{- define "vectorcache.metadata" -}}
{{- $own := dict
  "app.kubernetes.io/name" (.name | default "vectorcache-operator")
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/part-of" "vectorcache"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_"))
-}}
labels:
  {{- mergeOverwrite (dict) .root.Values.commonLabels (.labels | default dict) $own | toYaml | nindent 2 }}
{{- with mergeOverwrite (dict) .root.Values.commonAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Labels and annotations of a pod of the operator's image. */ -}}
{{- define "vectorcache.podMetadata" -}}
labels:
  {{- $own := include "vectorcache.selector" . | fromYaml | merge (dict "app.kubernetes.io/part-of" "vectorcache") }}
  {{- mergeOverwrite (dict) .Values.commonLabels .Values.podLabels $own | toYaml | nindent 2 }}
annotations:
  {{- $default := dict "kubectl.kubernetes.io/default-container" "operator" }}
  {{- mergeOverwrite $default .Values.commonAnnotations .Values.podAnnotations | toYaml | nindent 2 }}
{{- end }}

{{- /* Restricted pod security is not a setting. */ -}}
{{- define "vectorcache.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "vectorcache.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
