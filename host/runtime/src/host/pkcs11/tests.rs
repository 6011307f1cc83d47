use std::path::Path;

use keygate_pkcs11::{Error, KeyTemplate, Rejection, Wrapping};
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use super::*;
use crate::host::tests::idle;
use crate::manifest::Grants;

#[test]
fn configure_opens_no_token() {
    let mut store = idle();
    let refused = open(store.data_mut(), "hsm").err().unwrap();
    let refused = refused.downcast_ref::<HostCallRefused>().unwrap();
    assert!(refused.0.contains("in `configure`, which may call nothing but `log`"), "{refused}");
}

#[test]
fn what_is_not_granted_or_not_there_is_not_granted() {
    let mut store = idle();
    store.data_mut().begin();
    for name in ["hsm", "other", ""] {
        assert!(matches!(open(store.data_mut(), name), Ok(Err(wit::Error::NotGranted))), "{name}");
    }
}

#[test]
fn every_function_of_the_contract_is_linked_with_its_types() {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_path(wit.join("host")).unwrap();
    let (package, _) = resolve.push_path(wit.join("crypto")).unwrap();
    let world = resolve.select_world(&[package], Some("hsm-backend")).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, true).unwrap();
    let component = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    let store = idle();
    let component = Component::new(store.engine(), component).unwrap();
    let mut linker = Linker::<State>::new(store.engine());
    super::super::link(&mut linker, &store.data().facts.grants, &component).unwrap();
    linker.instantiate_pre(&component).unwrap();
    let without = Grants { pkcs11: Vec::new(), ..store.data().facts.grants.clone() };
    let mut linker = Linker::<State>::new(store.engine());
    super::super::link(&mut linker, &without, &component).unwrap();
    assert!(linker.instantiate_pre(&component).is_err(), "nothing that was not granted is linked");
}

#[test]
fn handles_of_a_sandbox_are_bounded() {
    let mut handles = Handles::default();
    for _ in 0..MAX_HANDLES {
        handles.add(1_u8).unwrap();
    }
    let full = handles.add(1_u8).unwrap_err();
    assert!(full.downcast_ref::<HostCallRefused>().unwrap().0.contains("256 handles"));
}

#[test]
fn a_call_ends_before_its_sandbox() {
    let mut store = idle();
    let state = store.data_mut();
    let now = Instant::now();
    state.time.until = now + Duration::from_secs(10);
    assert_eq!(state.time.until - by(state), SPARE);
    state.time.until = Instant::now() + Duration::from_millis(80);
    let spare = state.time.until - by(state);
    assert!(spare <= Duration::from_millis(10), "{spare:?}");
}

#[test]
fn every_error_has_its_case() {
    let rejection = Rejection { function: "C_Encrypt".into(), rv: 0x30, name: "CKR_DEVICE_ERROR", mend: "see the log" };
    let cases = [
        (Error::NotFound, "Error::NotFound"),
        (Error::AlreadyExists, "Error::AlreadyExists"),
        (Error::AuthenticationFailed, "Error::AuthenticationFailed"),
        (Error::InvalidInput("x".to_owned()), "Error::InvalidInput(\"x\")"),
        (Error::Unsupported("x".to_owned()), "Error::Unsupported(\"x\")"),
        (Error::Busy { retry_after: None }, "Error::Busy(None)"),
        (Error::Busy { retry_after: Some(Duration::from_micros(10)) }, "Error::Busy(Some(1))"),
        (Error::Busy { retry_after: Some(Duration::from_secs(2)) }, "Error::Busy(Some(2000))"),
        (Error::Unavailable { detail: "x".to_owned(), retry_after: None }, "Error::Unavailable(\"x\")"),
    ];
    for (error, expected) in cases {
        assert_eq!(format!("{:?}", wit::Error::from(error)), expected);
    }
    let wit::Error::Rejected(told) = Error::Rejected(rejection).into() else { panic!("another case") };
    assert_eq!((told.function.as_str(), told.rv, told.name.as_str()), ("C_Encrypt", 0x30, "CKR_DEVICE_ERROR"));
}

#[test]
fn what_the_door_has_no_word_for_is_refused() {
    let template = wit::KeyTemplate {
        algorithm: "DES".to_owned(),
        id: None,
        usage: wit::Usage::ENCRYPT | wit::Usage::UNWRAP | wit::Usage::MAC,
        persistent: false,
        exportable: false,
    };
    assert!(matches!(KeyTemplate::try_from(template.clone()), Err(wit::Error::Unsupported(_))));
    let template = KeyTemplate::try_from(wit::KeyTemplate { algorithm: "AES".to_owned(), ..template }).unwrap();
    assert!(
        template.usage.encrypt
            && template.usage.unwrap
            && template.usage.mac
            && !template.usage.decrypt
            && !template.usage.wrap
    );
    assert!(matches!(Wrapping::try_from(wit::Wrapping::AesCbcPad(vec![0; 15])), Err(wit::Error::InvalidInput(_))));
    assert!(Wrapping::try_from(wit::Wrapping::AesCbcPad(vec![0; 16])).is_ok());
}
