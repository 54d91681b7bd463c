//! What each kind gets; that it is what kube-apiserver gives is tested on recorded answers, where objects are admitted.

use super::*;

fn applied(group: &str, kind: &str, mut object: Value) -> Value {
    apply(group, kind, &mut object);
    let once = object.clone();
    apply(group, kind, &mut object);
    assert_eq!(once, object, "defaults are idempotent");
    object
}

#[test]
fn services() {
    let service = |spec: Value| applied("", "Service", json!({"spec": spec}))["spec"].clone();
    assert_eq!(
        service(json!({"ports": [{"port": 80}, {"port": 81, "targetPort": "http", "protocol": "UDP"}]})),
        json!({
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 81, "targetPort": "http", "protocol": "UDP"},
            ],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
        })
    );
    let sticky = service(json!({"sessionAffinity": "ClientIP"}));
    assert_eq!(sticky["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    assert_eq!(service(json!({"externalIPs": ["1.2.3.4"]}))["externalTrafficPolicy"], "Cluster");
    assert!(service(json!({"type": "ExternalName"}))["internalTrafficPolicy"].is_null());
    let balanced = json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}});
    let balanced = applied("", "Service", balanced);
    assert_eq!(balanced["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(balanced["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP");
}

#[test]
fn what_is_given_stays() {
    let given = json!({
        "spec": {
            "replicas": 0, "revisionHistoryLimit": 0, "progressDeadlineSeconds": 5, "strategy": {"type": "Recreate"},
            "template": {"spec": {
                "restartPolicy": "Never", "dnsPolicy": "Default", "terminationGracePeriodSeconds": 0, "schedulerName": "x",
                "securityContext": {"runAsUser": 1}, "containers": [{
                    "image": "x", "imagePullPolicy": "Never", "terminationMessagePath": "/x",
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }],
            }},
        },
    });
    assert_eq!(applied("apps", "Deployment", given.clone()), given);
}

#[test]
fn images_are_pulled_by_their_tag() {
    let cases = [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:0000", "IfNotPresent"),
    ];
    for (image, policy) in cases {
        let pod = applied("", "Pod", json!({"spec": {"containers": [{"image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn the_small_kinds() {
    let namespace = applied("", "Namespace", json!({"metadata": {"name": "lab"}}));
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "lab");
    let secret = applied("", "Secret", json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "z"}}));
    assert_eq!(secret, json!({"data": {"a": "eg==", "b": "eQ=="}, "type": "Opaque"}));
    let slice = applied("discovery.k8s.io", "EndpointSlice", json!({"ports": [{"port": 80}]}));
    assert_eq!(slice["ports"], json!([{"port": 80, "name": "", "protocol": "TCP"}]));
    let node = applied(
        "",
        "Node",
        json!({"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "2"}}}),
    );
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    assert_eq!(node["status"]["allocatable"], json!({"cpu": "2"}));
    assert_eq!(applied("", "ConfigMap", json!({"data": {}})), json!({"data": {}}));
}
