//! Who is let in, row by row.

use super::*;

fn access() -> Access {
    let secret = |text: &str| Secret::new(text).expect("a secret");
    Access::tokens(secret("adm").into(), Some(secret("view").into()))
}

fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri("/policies");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(axum::body::Body::empty()).expect("a request").into_parts().0
}

#[test]
fn a_token_gives_its_role_and_a_cookie_that_of_its_token() {
    let access = access();
    let sessions = access.0.sessions().expect("tokens");
    let now = SystemTime::now();
    let session = |role| sessions.begin(role, now, false).split(';').next().map(str::to_owned).expect("a cookie");
    let (admin, viewer) = (session(Role::Admin), session(Role::Viewer));
    let (own, foreign) = (("origin", "http://h"), ("origin", "http://evil"));
    let host = ("host", "h");
    for (method, headers, expected) in [
        ("GET", &[] as &[_], Err(Denied::Stranger)),
        ("GET", &[("authorization", "Bearer adm")], Ok((Role::Admin, false))),
        ("GET", &[("authorization", "Bearer view")], Ok((Role::Viewer, false))),
        ("GET", &[("authorization", "Bearer other")], Err(Denied::Stranger)),
        ("GET", &[("authorization", "adm")], Err(Denied::Stranger)),
        ("GET", &[("authorization", "Bearer other"), ("cookie", &admin)], Err(Denied::Stranger)),
        ("DELETE", &[("authorization", "Bearer adm"), host, foreign], Ok((Role::Admin, false))),
        ("DELETE", &[("authorization", "Bearer view")], Err(Denied::NotAdmin)),
        ("GET", &[("cookie", &admin)], Ok((Role::Admin, true))),
        ("GET", &[("cookie", &viewer), host, foreign], Ok((Role::Viewer, true))),
        ("DELETE", &[("cookie", &admin), host, own], Ok((Role::Admin, true))),
        ("DELETE", &[("cookie", &admin), host, foreign], Err(Denied::ForeignPage)),
        ("DELETE", &[("cookie", &admin), host], Err(Denied::ForeignPage)),
        ("DELETE", &[("cookie", &admin), ("sec-fetch-site", "same-site")], Err(Denied::ForeignPage)),
        ("DELETE", &[("cookie", &viewer), host, own], Err(Denied::NotAdmin)),
        ("GET", &[("cookie", "luthien_session=admin.9999999999.x")], Err(Denied::Stranger)),
    ] {
        let found = access.judge(&parts(method, headers), now);
        assert_eq!(found.map(|caller| (caller.role, caller.has_session)), expected, "{method} {headers:?}");
    }
}

#[test]
fn this_machine_may_do_everything_and_pages_of_other_sites_nothing() {
    let access = Access::loopback();
    let local = ("host", "localhost:8081");
    for (method, headers, expected) in [
        ("GET", &[local] as &[_], Ok(())),
        ("GET", &[("host", "[::1]:8081")], Ok(())),
        ("GET", &[("host", "rebound.example")], Err(Denied::ForeignHost)),
        ("GET", &[], Err(Denied::ForeignHost)),
        ("GET", &[local, ("origin", "https://evil.example")], Err(Denied::ForeignHost)),
        // A link on another site.
        ("GET", &[local, ("sec-fetch-site", "cross-site")], Ok(())),
        ("DELETE", &[local], Ok(())),
        ("DELETE", &[local, ("origin", "http://localhost:8081")], Ok(())),
        ("DELETE", &[local, ("origin", "http://localhost:3000")], Err(Denied::ForeignPage)),
        ("DELETE", &[local, ("origin", "https://evil.example")], Err(Denied::ForeignHost)),
        ("DELETE", &[local, ("sec-fetch-site", "cross-site")], Err(Denied::ForeignPage)),
    ] {
        let found = access.judge(&parts(method, headers), SystemTime::now());
        let expected = expected.map(|()| Caller { role: Role::Admin, has_session: false });
        assert_eq!(found, expected, "{method} {headers:?}");
    }
}
