//! What `wit-bindgen` makes of the contracts in `wit/`. Plugins do not use this module; the macros do.
#![allow(
    unsafe_code,
    reason = "generated: moving values over the canonical ABI takes raw pointers and exported symbols"
)]
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]

/// Both worlds of `keygate:crypto`, as one: they export the same interface, and an import that a plugin does not use
/// is left out of its component. So which of the two a plugin lives in shows in what it calls.
pub mod backend {
    wit_bindgen::generate!({
        path: ["../../wit/host", "../../wit/crypto"],
        inline: "
            package keygate:sdk;

            world any-backend {
                import keygate:host/log@0.1.0;
                import keygate:host/clock@0.1.0;
                import keygate:host/random@0.1.0;
                import keygate:host/secrets@0.1.0;
                import keygate:host/pkcs11@0.1.0;
                export keygate:crypto/backend@0.1.0;
            }
        ",
        generate_all,
        export_macro_name: "export_backend_bindings",
        pub_export_macro: true,
        default_bindings_module: "::keygate_plugin_sdk::bindings::backend",
        runtime_path: "::keygate_plugin_sdk::wit_bindgen::rt",
        additional_derives: [PartialEq, Eq],
    });
}

/// World `keygate:policy/policy-rule`.
pub mod rule {
    wit_bindgen::generate!({
        path: ["../../wit/host", "../../wit/policy"],
        world: "keygate:policy/policy-rule@0.1.0",
        with: {
            "keygate:host/log@0.1.0": super::backend::keygate::host::log,
        },
        export_macro_name: "export_rule_bindings",
        pub_export_macro: true,
        default_bindings_module: "::keygate_plugin_sdk::bindings::rule",
        runtime_path: "::keygate_plugin_sdk::wit_bindgen::rt",
        additional_derives: [PartialEq, Eq],
    });
}
