// An API server of Kubernetes for tests: the real machinery of its API (custom resources with CEL, status, watches,
// server-side apply, conflicts), with ConfigMaps, Leases, Events and Services and nothing else. Nothing runs, and nobody is
// asked who he is.
//
//	apiserver ETCD-URL KUBECONFIG
//
// listens on a free port of 127.0.0.1, and writes the file by which clients find it once it does.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// resource is a type that the server has besides custom resources.
type resource struct {
	version        schema.GroupVersion
	plural, single string
	object, list   func() runtime.Object
}

var resources = []resource{
	{corev1.SchemeGroupVersion, "configmaps", "configmap",
		func() runtime.Object { return &corev1.ConfigMap{} }, func() runtime.Object { return &corev1.ConfigMapList{} }},
	{corev1.SchemeGroupVersion, "services", "service",
		func() runtime.Object { return &corev1.Service{} }, func() runtime.Object { return &corev1.ServiceList{} }},
	{coordinationv1.SchemeGroupVersion, "leases", "lease",
		func() runtime.Object { return &coordinationv1.Lease{} }, func() runtime.Object { return &coordinationv1.LeaseList{} }},
	{eventsv1.SchemeGroupVersion, "events", "event",
		func() runtime.Object { return &eventsv1.Event{} }, func() runtime.Object { return &eventsv1.EventList{} }},
}

func main() {
	if len(os.Args) != 3 {
		must(fmt.Errorf("usage: apiserver ETCD-URL KUBECONFIG"))
	}
	etcd, kubeconfig := os.Args[1], os.Args[2]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	certificates, err := os.MkdirTemp("", "apiserver")
	must(err)
	defer os.RemoveAll(certificates)
	// The server is a client of its own (for the services that webhooks are behind), so it needs the file before it listens.
	must(os.WriteFile(kubeconfig+".new", []byte(pointTo(listener.Addr())), 0o600))

	o := options.NewCustomResourceDefinitionsServerOptions(os.Stdout, os.Stderr)
	r := o.RecommendedOptions
	r.Etcd.StorageConfig.Transport.ServerList = []string{etcd}
	r.SecureServing.Listener = listener
	r.SecureServing.BindPort = listener.Addr().(*net.TCPAddr).Port
	r.SecureServing.ServerCert.CertDirectory = certificates
	r.CoreAPI.CoreAPIKubeconfigPath = kubeconfig + ".new"
	r.Authentication, r.Authorization, r.Admission = nil, nil, nil
	r.Features.EnablePriorityAndFairness = false
	must(o.Complete())
	config, err := o.Config()
	must(err)
	config.GenericConfig.OpenAPIConfig = nil
	config.GenericConfig.SkipOpenAPIInstallation = true

	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(coordinationv1.AddToScheme(scheme))
	utilruntime.Must(eventsv1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, each := range resources {
		object, list := each.object(), each.list()
		// What is stored is what is served: the internal version is the same type.
		scheme.AddKnownTypes(schema.GroupVersion{Group: each.version.Group, Version: runtime.APIVersionInternal}, object, list)
		for _, one := range []runtime.Object{object, list} {
			config.GenericConfig.OpenAPIV3Config.Definitions[one.(interface{ OpenAPIModelName() string }).OpenAPIModelName()] = anything(one, scheme)
		}
	}
	server, err := config.Complete().New(genericapiserver.NewEmptyDelegate())
	must(err)
	groups(server.GenericAPIServer, scheme, *r.Etcd)

	must(server.GenericAPIServer.AddPostStartHook("tell", func(genericapiserver.PostStartHookContext) error {
		return os.Rename(kubeconfig+".new", kubeconfig)
	}))
	must(server.GenericAPIServer.PrepareRun().RunWithContext(genericapiserver.SetupSignalContext()))
}

// groups installs the resources, a group of the API at a time.
func groups(server *genericapiserver.GenericAPIServer, scheme *runtime.Scheme, etcd genericoptions.EtcdOptions) {
	codecs, parameters := serializer.NewCodecFactory(scheme), runtime.NewParameterCodec(scheme)
	infos := map[schema.GroupVersion]*genericapiserver.APIGroupInfo{}
	for _, each := range resources {
		info := infos[each.version]
		if info == nil {
			made := genericapiserver.NewDefaultAPIGroupInfo(each.version.Group, scheme, parameters, codecs)
			info = &made
			info.PrioritizedVersions = []schema.GroupVersion{each.version}
			info.VersionedResourcesStorageMap[each.version.Version] = map[string]rest.Storage{}
			infos[each.version] = info
		}
		info.VersionedResourcesStorageMap[each.version.Version][each.plural] = store(each, scheme, codecs, etcd)
	}
	for version, info := range infos {
		if version.Group == "" {
			must(server.InstallLegacyAPIGroup("/api", info))
		} else {
			must(server.InstallAPIGroups(info))
		}
	}
}

func store(each resource, scheme *runtime.Scheme, codecs serializer.CodecFactory, etcd genericoptions.EtcdOptions) rest.Storage {
	etcd.StorageConfig.Prefix = "/registry/resources"
	etcd.StorageConfig.Codec =
		codecs.CodecForVersions(codecs.LegacyCodec(each.version), codecs.UniversalDeserializer(), each.version, each.version)
	getter := etcd.CreateRESTOptionsGetter(&genericoptions.SimpleStorageFactory{StorageConfig: etcd.StorageConfig}, nil)
	name := schema.GroupResource{Group: each.version.Group, Resource: each.plural}
	all := strategy{scheme, names.SimpleNameGenerator}
	made := &genericregistry.Store{
		NewFunc:                   each.object,
		NewListFunc:               each.list,
		DefaultQualifiedResource:  name,
		SingularQualifiedResource: schema.GroupResource{Group: each.version.Group, Resource: each.single},
		PredicateFunc: func(labels labels.Selector, fields fields.Selector) storage.SelectionPredicate {
			return storage.SelectionPredicate{Label: labels, Field: fields, GetAttrs: attributes}
		},
		CreateStrategy: all,
		UpdateStrategy: all,
		DeleteStrategy: all,
		TableConvertor: rest.NewDefaultTableConvertor(name),
	}
	must(made.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter, AttrFunc: attributes}))
	return made
}

func attributes(object runtime.Object) (labels.Set, fields.Set, error) {
	meta, ok := object.(metav1.Object)
	if !ok {
		return nil, nil, fmt.Errorf("%T has no metadata", object)
	}
	return meta.GetLabels(), fields.Set{"metadata.name": meta.GetName(), "metadata.namespace": meta.GetNamespace()}, nil
}

// strategy lets everything be written.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

func (strategy) NamespaceScoped() bool                                                 { return true }
func (strategy) AllowCreateOnUpdate() bool                                             { return false }
func (strategy) AllowUnconditionalUpdate() bool                                        { return true }
func (strategy) Canonicalize(runtime.Object)                                           {}
func (strategy) PrepareForCreate(context.Context, runtime.Object)                      {}
func (strategy) PrepareForUpdate(_ context.Context, _, _ runtime.Object)               {}
func (strategy) Validate(context.Context, runtime.Object) field.ErrorList              { return nil }
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string             { return nil }
func (strategy) ValidateUpdate(_ context.Context, _, _ runtime.Object) field.ErrorList { return nil }
func (strategy) WarningsOnUpdate(_ context.Context, _, _ runtime.Object) []string      { return nil }

// anything is the schema of a type in which everything may stand.
func anything(object runtime.Object, scheme *runtime.Scheme) common.OpenAPIDefinition {
	kinds, _, err := scheme.ObjectKinds(object)
	must(err)
	kind := map[string]any{"group": kinds[0].Group, "version": kinds[0].Version, "kind": kinds[0].Kind}
	return common.OpenAPIDefinition{Schema: spec.Schema{
		SchemaProps: spec.SchemaProps{Type: []string{"object"}},
		VendorExtensible: spec.VendorExtensible{Extensions: spec.Extensions{
			"x-kubernetes-preserve-unknown-fields": true,
			"x-kubernetes-group-version-kind":      []any{kind},
		}},
	}}
}

// pointTo is the file by which clients find the server.
func pointTo(address net.Addr) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{ name: test, context: { cluster: test, user: test, namespace: default } }]
clusters: [{ name: test, cluster: { server: "https://%s", insecure-skip-tls-verify: true } }]
users: [{ name: test, user: { token: nobody-asks } }]
`, address)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
