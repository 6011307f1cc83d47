use super::*;
use crate::clock::Timestamp;

const CRYPTO: InstanceId = InstanceId::from_bytes([9; 16]);

fn id(n: u8) -> InstanceId {
    InstanceId::from_bytes([n; 16])
}

fn text() -> String {
    "x".to_owned()
}

fn configured(n: u8, backend: &str) -> Instance {
    let (name, region, account) = (text(), text(), text());
    Instance { id: id(n), name, region, account, backend: backend.to_owned(), crypto_instance: None }
}

fn crypto(backend: &str) -> CryptoInstance {
    let (name, region, account) = (text(), text(), text());
    CryptoInstance {
        id: CRYPTO,
        name,
        region,
        account,
        backend: backend.to_owned(),
        plugin: text(),
        token_labels: Vec::new(),
    }
}

fn stamp() -> Stamp {
    Stamp { at: Timestamp::default(), by: text() }
}

fn record(n: u8, binding: Binding) -> ProvisionedInstance {
    let (name, region, account) = (text(), text(), text());
    let (created, updated) = (stamp(), stamp());
    ProvisionedInstance { id: id(n), name, region, account, binding, created, updated, revision: 1 }
}

fn records(instances: Vec<ProvisionedInstance>) -> Records {
    Records { instances, authorizations: Vec::new() }
}

fn backend(instances: &Instances, n: u8) -> Option<String> {
    instances.get(id(n)).map(|instance| instance.backend.clone())
}

#[test]
fn both_sources_are_shown_and_the_configuration_counts_where_both_have_one() {
    let instances: Instances = [configured(1, "one")].into_iter().collect();
    let ticket = instances.ticket();
    let there = [1, 2].map(|n| record(n, Binding::Backend("two".to_owned())));
    instances.show(ticket, records(there.to_vec()));
    assert_eq!((backend(&instances, 1).as_deref(), backend(&instances, 2).as_deref()), (Some("one"), Some("two")));
    assert_eq!(instances.iter().map(|instance| instance.id).collect::<Vec<_>>(), [id(1), id(2)]);
    assert!(instances.is_configured(id(1)) && !instances.is_configured(id(2)));
    assert_eq!(instances.hidden(), [id(1)]);
    assert_eq!(instances.backends().into_iter().collect::<Vec<_>>(), ["one", "two"]);
    instances.configure([], Vec::new());
    assert_eq!(backend(&instances, 1).as_deref(), Some("two"), "taken out of the configuration, the store's is there");
}

#[test]
fn who_holds_a_clone_sees_what_comes_later() {
    let instances = Instances::default();
    let clone = instances.clone();
    instances.configure([configured(1, "one")], Vec::new());
    assert_eq!(backend(&clone, 1).as_deref(), Some("one"));
}

#[test]
fn an_instance_bound_to_a_crypto_instance_goes_where_that_goes() {
    let instances = Instances::default();
    instances.show(instances.ticket(), records(vec![record(1, Binding::Crypto(CRYPTO))]));
    assert_eq!(backend(&instances, 1).as_deref(), Some(""), "it is not configured");
    assert!(instances.backends().is_empty());
    for name in ["one", "two"] {
        instances.configure([], vec![crypto(name)]);
        assert_eq!(backend(&instances, 1).as_deref(), Some(name));
        assert_eq!(instances.get(id(1)).unwrap().crypto_instance, Some(CRYPTO));
    }
}

#[test]
fn what_was_read_earlier_never_hides_what_was_read_later() {
    let instances = Instances::default();
    let (early, late) = (instances.ticket(), instances.ticket());
    instances.show(late, records(vec![record(1, Binding::Backend("late".to_owned()))]));
    instances.show(early, records(Vec::new()));
    assert_eq!(backend(&instances, 1).as_deref(), Some("late"));
    instances.show(instances.ticket(), records(Vec::new()));
    assert!(instances.get(id(1)).is_none());
}

#[test]
fn an_authorization_is_for_one_pair() {
    let instances = Instances::default();
    let given = Authorization { source: id(1), target: CRYPTO, created: stamp() };
    instances.show(instances.ticket(), Records { instances: Vec::new(), authorizations: vec![given.clone()] });
    assert_eq!(instances.authorization(id(1), CRYPTO).as_deref(), Some(&given));
    assert!(instances.authorization(CRYPTO, id(1)).is_none() && instances.authorization(id(2), CRYPTO).is_none());
    assert_eq!(instances.authorizations().len(), 1);
}

#[test]
fn a_crypto_instance_has_a_crn_of_its_own_service() {
    let expected = format!("crn:v1:bluemix:public:hs-crypto:x:a/x:{CRYPTO}::");
    assert_eq!(crypto("b").crn(), expected);
}
