//! Reading: lists, selectors, forms, discovery, and who may ask.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, PODS, Reply, Server, config_map, pod};

async fn accepting(server: &Server, path: &str, accept: &str) -> Reply {
    let request = Request::builder().uri(path).header("accept", accept);
    server.send_request(request.body(kube::client::Body::empty()).unwrap()).await
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn selectors_choose() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.post(PODS, &pod(name)).await;
    }
    let cases: [(&str, &[&str]); 6] = [
        ("", &["a", "b", "c"]),
        ("?labelSelector=app%3Da", &["a"]),
        ("?labelSelector=app+in+(a,c)", &["a", "c"]),
        ("?fieldSelector=metadata.name%3Db", &["b"]),
        ("?fieldSelector=status.phase%3DRunning", &[]),
        ("?limit=1", &["a", "b", "c"]),
    ];
    for (query, expected) in cases {
        assert_eq!(names(&server.get(&format!("{PODS}{query}")).await.json), expected, "{query}");
    }
    let list = server.get("/api/v1/pods").await.json;
    assert_eq!((&list["kind"], names(&list).len()), (&json!("PodList"), 3));
    let refused = server.get(&format!("{PODS}?fieldSelector=spec.foo%3D1")).await;
    assert_eq!((refused.code, refused.message()), (400, "field label not supported: spec.foo"));
    assert_eq!(server.get(&format!("{PODS}?labelSelector=a+b")).await.code, 400);
}

#[tokio::test]
async fn revisions_of_lists_are_checked() {
    let server = Server::start().await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    let future =
        server.get(&format!("{CONFIG_MAPS}?resourceVersion=99999&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(future.code, 504);
    assert!(future.message().starts_with("Timeout: Too large resource version: 99999, current: "));
    assert_eq!(future.json["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    for (query, code) in [
        ("resourceVersion=0", 200),
        ("resourceVersion=1&resourceVersionMatch=NotOlderThan", 200),
        ("resourceVersion=1&resourceVersionMatch=Exact", 410),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=abc", 400),
        ("sendInitialEvents=true", 422),
    ] {
        assert_eq!(server.get(&format!("{CONFIG_MAPS}?{query}")).await.code, code, "{query}");
    }
}

#[tokio::test]
async fn objects_are_written_in_the_form_that_is_asked_for() {
    let server = Server::start().await;
    server.post(PODS, &pod("a")).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let list = accepting(&server, PODS, table).await.json;
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(list["rows"][0]["cells"][0], "a");
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let columns = list["columnDefinitions"].as_array().unwrap().len();
    assert_eq!(list["rows"][0]["cells"].as_array().unwrap().len(), columns);

    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = accepting(&server, PODS, metadata).await.json;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!((&list["items"][0]["metadata"]["name"], list["items"][0].get("spec")), (&json!("a"), None));

    let refused = accepting(&server, PODS, "application/vnd.kubernetes.protobuf").await;
    assert_eq!((refused.code, refused.json["reason"].as_str()), (406, Some("NotAcceptable")));
}

#[tokio::test]
async fn endpoints_warn_that_they_are_deprecated() {
    let server = Server::start().await;
    let reply = server.get("/api/v1/namespaces/default/endpoints").await;
    assert_eq!(
        reply.warnings(),
        ["299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\""]
    );
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let server = Server::start().await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "hello", "reason": "Greeting",
        "type": "Normal", "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
    });
    assert_eq!(server.post("/api/v1/namespaces/default/events", &event).await.code, 201);
    let other = server.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await.json;
    assert_eq!((&other["apiVersion"], &other["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
    assert_eq!(other["regarding"]["name"], "a");
    let list = server.get("/apis/events.k8s.io/v1/events").await.json;
    assert_eq!((names(&list), &list["items"][0]["note"]), (vec!["e"], &json!("hello")));
}

#[tokio::test]
async fn discovery_says_what_there_is() {
    let server = Server::start().await;
    let resources = server.get("/apis/apps/v1").await.json;
    assert_eq!(resources["groupVersion"], "apps/v1");
    let found: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(found.contains(&"deployments/scale"), "{found:?}");
    assert_eq!(server.get("/api").await.json["versions"], json!(["v1"]));

    for version in ["v2", "v2beta1"] {
        let accept = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let reply = accepting(&server, "/apis", &accept).await;
        assert_eq!(reply.json["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        assert_eq!(reply.headers["content-type"], accept);
        assert_eq!(reply.headers["vary"], "Accept");
        let request = Request::builder().uri("/apis").header("accept", accept);
        let request = request.header("if-none-match", &reply.headers["etag"]);
        let again = server.send_request(request.body(kube::client::Body::empty()).unwrap()).await;
        assert_eq!(again.code, 304);
    }
}

#[tokio::test]
async fn open_api_is_small_and_there() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.json;
    let path = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = server.get(&path).await.json;
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    assert!(server.get("/openapi/v2").await.bytes.starts_with(b"\x0a\x032.0"));
}

#[tokio::test]
async fn a_client_without_a_certificate_may_ask_for_health_only() {
    let server = Server::start().await;
    let mut config = kube::Config::new(format!("https://{}", server.address).parse().unwrap());
    config.root_cert = Some(vec![pem_to_der(server.control_plane.authority().ca_pem())]);
    let client = kube::Client::try_from(config).unwrap();
    for (path, code) in [("/healthz", 200), ("/readyz", 200), ("/version", 200), ("/api", 401), (PODS, 401)] {
        let request =
            Request::builder().method(Method::GET).uri(path).body(kube::client::Body::empty()).unwrap();
        assert_eq!(client.send(request).await.unwrap().status().as_u16(), code, "{path}");
    }
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn the_client_in_process_is_the_same_api() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let server = Server::start().await;
    let api: kube::Api<ConfigMap> = kube::Api::namespaced(server.control_plane.client(), "default");
    let object = serde_json::from_value(config_map("a", "1")).unwrap();
    api.create(&kube::api::PostParams::default(), &object).await.unwrap();
    assert_eq!(names(&server.get(CONFIG_MAPS).await.json), ["a"]);
    let refused = api.get("none").await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 404));
}
