//! The two macros that make a component of a type.

/// Exports a type that implements [`Backend`](crate::backend::Backend), as world `software-backend` or `hsm-backend`
/// of `keygate:crypto`: which, shows in what it imports.
///
/// `export_backend!(Type)` comes with the allocator of [`alloc`](crate::alloc);
/// `export_backend!(Type, system_allocator)` leaves the standard library's.
#[macro_export]
macro_rules! export_backend {
    ($plugin:ty) => {
        $crate::__install_allocator!();
        $crate::export_backend!($plugin, system_allocator);
    };
    ($plugin:ty, system_allocator) => {
        impl $crate::backend::Exported for $plugin {
            fn slot() -> &'static $crate::Slot<Self> {
                static SLOT: $crate::Slot<$plugin> = $crate::Slot::new();
                &SLOT
            }
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: exported symbols and raw pointers of the canonical ABI")]
        const _: () = {
            type Component = $crate::backend::Component<$plugin>;
    $crate::bindings::backend::export_backend_bindings!(Component with_types_in $crate::bindings::backend);
        };
    };
}

/// Exports a type that implements [`Rule`](crate::rule::Rule), as world `keygate:policy/policy-rule`.
///
/// `export_rule!(Type)` comes with the allocator of [`alloc`](crate::alloc); `export_rule!(Type, system_allocator)`
/// leaves the standard library's; `export_rule!(Type, settling_allocator)` uses the standard library's in `configure` and
/// fresh memory in every call after it.
#[macro_export]
macro_rules! export_rule {
    ($plugin:ty) => {
        $crate::__install_allocator!();
        $crate::export_rule!($plugin, system_allocator);
    };
    ($plugin:ty, system_allocator) => {
        $crate::__export_rule!($plugin, {});
    };
    ($plugin:ty, settling_allocator) => {
        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static ALLOCATOR: $crate::alloc::Settling = $crate::alloc::Settling::new();

        $crate::__export_rule!($plugin, {
            #[cfg(target_arch = "wasm32")]
            ALLOCATOR.settle();
        });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_rule {
    ($plugin:ty, $configured:block) => {
        impl $crate::rule::Exported for $plugin {
            fn slot() -> &'static $crate::Slot<Self> {
                static SLOT: $crate::Slot<$plugin> = $crate::Slot::new();
                &SLOT
            }

            fn configured() $configured
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: exported symbols and raw pointers of the canonical ABI")]
        const _: () = {
            type Component = $crate::rule::Component<$plugin>;
    $crate::bindings::rule::export_rule_bindings!(Component with_types_in $crate::bindings::rule);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __install_allocator {
    () => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[global_allocator]
            static ALLOCATOR: $crate::alloc::Bump = $crate::alloc::Bump::new();
        };
    };
}
