use super::*;

fn made(uid: &str) -> Made {
    Made::Workload(Arc::from(uid))
}

#[test]
fn a_request_names_as_many_as_a_server_takes_and_the_versions_first() {
    let mut resources = Resources::default();
    let long = |number: usize| format!("{number:0>1000}");
    for number in 0..4_000 {
        let version = if number % 2 == 0 { "" } else { "version" };
        let name = long(number);
        assert_eq!(resources.upsert(&name, version, made(&name)), None);
    }
    let announced = resources.begin();
    let bytes: usize = announced.iter().map(|(name, version)| name.len() + version.len() + 12).sum();
    assert!((KNOWN_BYTES_MAX - 2_000..=KNOWN_BYTES_MAX).contains(&bytes), "{bytes}");
    assert_eq!(announced.values().filter(|version| !version.is_empty()).count(), 2_000);
    assert_eq!(resources.drop_unnamed().len(), 2_000, "those without a version");
}

#[test]
fn a_version_that_did_not_fit_counts_as_unknown() {
    let mut resources = Resources::default();
    for number in 0..4_000 {
        let name = format!("{number:0>1000}");
        resources.upsert(&name, "version", made(&name));
    }
    let announced = resources.begin().len();
    assert!(announced < 4_000);
    assert_eq!(resources.drop_unnamed().len(), 4_000 - announced, "the server would have said them again");
}

#[test]
fn a_name_equal_to_what_it_names_is_kept_once() {
    let Made::Workload(uid) = made("a") else { unreachable!() };
    assert!(Arc::ptr_eq(&name_for("a", &Made::Workload(Arc::clone(&uid))), &uid));
    assert_eq!(&*name_for("b", &Made::Workload(uid)), "b");
}

#[test]
fn what_has_another_name_is_not_gone_with_one_of_them() {
    let removal = || Some(Change::RemoveWorkload(Arc::from("a")));
    for (first, last) in [("a", "alias"), ("alias", "a"), ("alias", "other")] {
        let mut resources = Resources::default();
        for name in [first, last, last] {
            assert_eq!(resources.upsert(name, "", made("a")), None);
        }
        assert_eq!(resources.remove(first), None, "{first}");
        assert_eq!(resources.remove(last), removal(), "{last}");
    }
    let mut resources = Resources::default();
    for name in ["a", "alias"] {
        resources.upsert(name, "", made("a"));
    }
    assert_eq!(resources.upsert("alias", "", made("b")), None, "it names something else now");
    assert_eq!(resources.upsert("a", "", made("c")), removal());
}
