//! Requests that the two kinds of guests have in common. Other crates cannot reach those that act on a guest. They need
//! an [`OwnedGuest`](crate::OwnedGuest).

use pve::{Lxc, Qemu};

/// A kind of guest: a VM ([`Qemu`]) or a container ([`Lxc`]).
pub trait Kind: raw::Raw {}

impl Kind for Qemu {}
impl Kind for Lxc {}

pub(crate) mod raw {
    use std::fmt::Debug;

    use ownership::{NodeName, Vmid};
    use pve::{Client, Config, Error, GuestKind, Lxc, Qemu, Status, Upid};

    type Answer<T> = Result<T, Error>;

    /// Requests about one guest, without any proof.
    pub trait Raw: Debug + Clone + Send + Sync {
        const KIND: GuestKind;

        fn at(client: &Client, node: &NodeName, vmid: Vmid) -> Self;
        fn node(&self) -> &NodeName;
        fn config(&self) -> impl Future<Output = Answer<Config>> + Send;
        fn status(&self) -> impl Future<Output = Answer<Status>> + Send;
        fn set_config(&self, options: &[(&str, &str)], digest: Option<&str>)
        -> impl Future<Output = Answer<()>> + Send;
        fn start(&self) -> impl Future<Output = Answer<Upid>> + Send;
        fn stop(&self) -> impl Future<Output = Answer<Upid>> + Send;
        fn delete(&self) -> impl Future<Output = Answer<Upid>> + Send;
    }

    macro_rules! raw {
        ($kind:ident, $method:ident) => {
            impl Raw for $kind {
                const KIND: GuestKind = GuestKind::$kind;

                fn at(client: &Client, node: &NodeName, vmid: Vmid) -> Self {
                    client.$method(node, vmid)
                }

                fn node(&self) -> &NodeName {
                    Self::node(self)
                }

                async fn config(&self) -> Answer<Config> {
                    Self::config(self).await
                }

                async fn status(&self) -> Answer<Status> {
                    Self::status(self).await
                }

                async fn set_config(&self, options: &[(&str, &str)], digest: Option<&str>) -> Answer<()> {
                    Self::set_config(self, options, digest).await
                }

                async fn start(&self) -> Answer<Upid> {
                    Self::start(self).await
                }

                async fn stop(&self) -> Answer<Upid> {
                    Self::stop(self).await
                }

                async fn delete(&self) -> Answer<Upid> {
                    Self::delete(self).await
                }
            }
        };
    }

    raw!(Qemu, qemu);
    raw!(Lxc, lxc);
}
