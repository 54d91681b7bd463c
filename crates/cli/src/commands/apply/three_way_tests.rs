//! Patches against those that kubectl sends for the same objects.

use serde_json::{Value, json};

use super::{patch, shape_of};

fn service(ports: Value, selector: Value) -> Value {
    json!({"metadata": {"name": "ex"}, "spec": {"ports": ports, "selector": selector}})
}

fn deployment(strategy: Value, containers: Value) -> Value {
    json!({"spec": {"replicas": 3, "strategy": strategy, "template": {"spec": {"containers": containers}}}})
}

#[test]
fn patches_are_those_of_kubectl() {
    let p80 = json!([{"port": 80, "targetPort": 9898}]);
    let p81 = json!([{"port": 81, "targetPort": 9898}]);
    let live = json!({"metadata": {"name": "ex", "uid": "u"}, "spec": {"clusterIP": "10.96.0.5", "selector": {"app": "a"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 9898}]}});
    let cases = [
        (
            "nothing to do",
            service(p80.clone(), json!({"app": "a"})),
            service(p80.clone(), json!({"app": "a"})),
            json!({}),
        ),
        (
            "a port replaced",
            service(p80.clone(), json!({"app": "a"})),
            service(p81, json!({"app": "a"})),
            json!({"spec": {"$setElementOrder/ports": [{"port": 81}],
                "ports": [{"port": 81, "targetPort": 9898}, {"$patch": "delete", "port": 80}]}}),
        ),
        (
            "a label of the selector renamed",
            service(p80.clone(), json!({"app": "a"})),
            service(p80.clone(), json!({"run": "a"})),
            json!({"spec": {"selector": {"app": null, "run": "a"}}}),
        ),
        (
            "a port changed",
            service(p80.clone(), json!({"app": "a"})),
            service(json!([{"port": 80, "targetPort": "http"}]), json!({"app": "a"})),
            json!({"spec": {"$setElementOrder/ports": [{"port": 80}], "ports": [{"port": 80, "targetPort": "http"}]}}),
        ),
        (
            "never applied before",
            json!({}),
            service(p80, json!({"b": "c"})),
            json!({"spec": {"selector": {"b": "c"}}}),
        ),
    ];
    for (name, last, wanted, expected) in cases {
        assert_eq!(patch(shape_of("v1", "Service"), &last, &wanted, &live), expected, "{name}");
    }
}

#[test]
fn retained_keys_and_nested_lists() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
    let containers = json!([{"name": "a", "image": "x", "env": [{"name": "K", "value": "1"}]}, {"name": "b", "image": "y"}]);
    let last = deployment(rolling.clone(), containers.clone());
    let wanted = deployment(
        json!({"type": "Recreate"}),
        json!([{"name": "a", "image": "z", "env": [{"name": "K", "value": "1"}]}]),
    );
    assert_eq!(
        patch(shape_of("apps/v1", "Deployment"), &last, &wanted, &last),
        json!({"spec": {
            "strategy": {"rollingUpdate": null, "$retainKeys": ["type"], "type": "Recreate"},
            "template": {"spec": {"$setElementOrder/containers": [{"name": "a"}],
                "containers": [{"image": "z", "name": "a"}, {"$patch": "delete", "name": "b"}]}}}})
    );
}

#[test]
fn sets_of_plain_values_merge() {
    let object = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let (last, live) = (object(json!(["a", "b"])), object(json!(["a", "b", "theirs"])));
    assert_eq!(
        patch(shape_of("v1", "Service"), &last, &object(json!(["a", "c"])), &live),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["a", "c"],
            "finalizers": ["c"]}})
    );
}

#[test]
fn unknown_kinds_get_a_plain_merge_patch() {
    let last = json!({"spec": {"list": [1, 2], "gone": 1}});
    let wanted = json!({"spec": {"list": [1]}});
    assert_eq!(patch(None, &last, &wanted, &last), json!({"spec": {"gone": null, "list": [1]}}));
}

#[test]
fn elements_stand_in_the_order_that_the_patch_sets() {
    let ports = |list: &[(u16, Option<&str>)]| {
        let port = |(port, target): &(u16, Option<&str>)| match target {
            Some(target) => json!({"port": port, "targetPort": target}),
            None => json!({"port": port}),
        };
        json!({"spec": {"ports": list.iter().map(port).collect::<Vec<_>>()}})
    };
    let last = ports(&[(80, Some("n")), (443, None), (90, None)]);
    let wanted = ports(&[(83, None), (80, None), (82, None)]);
    assert_eq!(
        patch(shape_of("v1", "Service"), &last, &wanted, &last),
        json!({"spec": {"$setElementOrder/ports": [{"port": 83}, {"port": 80}, {"port": 82}],
            "ports": [{"port": 83}, {"port": 80, "targetPort": null}, {"port": 82},
                {"$patch": "delete", "port": 443}, {"$patch": "delete", "port": 90}]}})
    );
}
