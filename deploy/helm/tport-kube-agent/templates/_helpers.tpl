{{- define "tport.labels" -}}
app.kubernetes.io/name: tport-kube-agent
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app: {{ .Release.Name | quote }}
{{- range $key, $value := .Values.extraLabels }}
{{ $key | quote }}: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "tport.selector" -}}
app.kubernetes.io/name: tport-kube-agent
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "tport.serviceAccount" -}}
{{- .Values.serviceAccount.name | default .Release.Name -}}
{{- end -}}

{{- define "tport.clusterRole" -}}
{{- .Values.clusterRoleName | default .Release.Name -}}
{{- end -}}

{{- /* tport.conf is YAML, so JSON is too: no value can break out of it. */ -}}
{{- define "tport.conf" -}}
{{- $pins := list -}}
{{- if kindIs "string" .Values.caPin -}}
{{- if .Values.caPin -}}{{- $pins = list .Values.caPin -}}{{- end -}}
{{- else -}}
{{- $pins = .Values.caPin -}}
{{- end -}}
version: v3
tport:
  data_dir: /var/lib/tport
  proxy_server: {{ required "proxyAddr is needed: host:port of the proxy" .Values.proxyAddr | toJson }}
  auth_token: /etc/tport-secrets/auth-token
  {{- if $pins }}
  ca_pin: {{ toJson $pins }}
  {{- end }}
  log:
    severity: {{ toJson .Values.log.level }}
    format: {output: {{ toJson .Values.log.format }}}
ssh_service:
  enabled: no
kubernetes_service:
  enabled: yes
  kube_cluster_name: {{ required "kubeClusterName is needed: how people will call this cluster" .Values.kubeClusterName | toJson }}
  {{- if .Values.labels }}
  labels:
    {{- range $key, $value := .Values.labels }}
    {{ toJson $key }}: {{ $value | toString | toJson }}
    {{- end }}
  {{- end }}
  {{- if .Values.commands }}
  commands: {{ toJson .Values.commands }}
  {{- end }}
{{- end -}}
