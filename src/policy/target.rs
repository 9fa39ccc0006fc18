//! What rules of Kubernetes can be attached to, besides every call: a Gateway or an HTTPRoute that calls come through.
//!
//! Envoy says by names which way a call took, in the form that Envoy Gateway gives them: routes are called
//! `httproute/NAMESPACE/NAME/rule/…`, virtual hosts `NAMESPACE/GATEWAY/LISTENER/HOST`.

use crate::model::Entrance;

/// Something that calls come through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A Gateway.
    Gateway {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An HTTPRoute.
    HttpRoute {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Target {
    /// Whether a call came through it, or may have. Only a name of the known form that names another one rules it out: a
    /// policy that protects a route must not be got around because Envoy does not say which one it was.
    pub fn fits(&self, entrance: &Entrance) -> bool {
        match self {
            Self::Gateway { namespace, name } => {
                let host = entrance.virtual_host.as_deref().map(|host| host.splitn(4, '/').collect::<Vec<_>>());
                match host.as_deref() {
                    Some([of, gateway, _, _]) => of == namespace && gateway == name,
                    _ => true,
                }
            }
            Self::HttpRoute { namespace, name } => {
                let route = entrance.route.as_deref().map(|route| route.splitn(4, '/').collect::<Vec<_>>());
                match route.as_deref() {
                    Some(["httproute", of, route, _]) => of == namespace && route == name,
                    _ => true,
                }
            }
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gateway { namespace, name } => write!(f, "Gateway {namespace}/{name}"),
            Self::HttpRoute { namespace, name } => write!(f, "HTTPRoute {namespace}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_ruled_out_only_by_the_name_of_another() {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let gateway = Target::Gateway { namespace: "ns".to_owned(), name: "gw".to_owned() };
        let route = Target::HttpRoute { namespace: "ns".to_owned(), name: "chat".to_owned() };
        for (target, name, fits) in [
            (&gateway, None, true),
            (&gateway, Some("ns/gw/http/*"), true),
            (&gateway, Some("ns/gw/https/llm_example_com"), true),
            (&gateway, Some("ns/gw2/http/*"), false),
            (&gateway, Some("other/gw/http/*"), false),
            (&gateway, Some("inbound|http|80"), true),
            (&route, None, true),
            (&route, Some("httproute/ns/chat/rule/0/match/0/llm_example_com"), true),
            (&route, Some("httproute/ns/chat2/rule/0/match/0/*"), false),
            (&route, Some("httproute/other/chat/rule/0/match/-1/*"), false),
            (&route, Some("grpcroute/ns/chat/rule/0/match/0/*"), true),
            (&route, Some("default"), true),
        ] {
            let entrance = match target {
                Target::Gateway { .. } => Entrance { virtual_host: owned(name), ..Entrance::default() },
                Target::HttpRoute { .. } => Entrance { route: owned(name), ..Entrance::default() },
            };
            assert_eq!(target.fits(&entrance), fits, "{target} {name:?}");
        }
    }
}
