import json
import unittest

import support  # noqa: F401
from standin.gen.config import ConfigErrors, resolve
from standin.release import Release

GOOD = {
    "bootstrap_url": "http://10.0.0.1:80", "cluster_name": "c", "exhibitor_storage_backend": "static",
    "master_discovery": "static", "master_list": ["10.0.0.12", "10.0.0.9", "10.0.0.1"],
}
S3 = {
    "bootstrap_url": "http://10.0.0.1", "cluster_name": "c", "exhibitor_storage_backend": "aws_s3",
    "master_discovery": "master_http_loadbalancer", "num_masters": 3, "exhibitor_address": "lb.internal",
    "aws_region": "eu-west-1", "s3_bucket": "b", "s3_prefix": "exhibitor", "exhibitor_explicit_keys": False,
}


def script(_name):
    return "#!/bin/sh\necho 10.0.0.1\n"


class Validation(unittest.TestCase):
    def resolved(self, given, read=script):
        return resolve(given, Release("2.0.6"), read)

    def errors(self, given, read=script):
        with self.assertRaises(ConfigErrors) as caught:
            self.resolved(given, read)
        return caught.exception.errors

    def one(self, key, message, **change):
        base = change.pop("base", GOOD)
        self.assertIn((key, message), self.errors({**base, **change}))

    def test_derived_values(self):
        args = self.resolved(GOOD)
        self.assertEqual(args["exhibitor_static_ensemble"], "1:10.0.0.1,2:10.0.0.12,3:10.0.0.9")
        self.assertEqual(args["master_list"], '["10.0.0.1", "10.0.0.12", "10.0.0.9"]')
        self.assertEqual((args["num_masters"], args["master_quorum"]), ("3", "2"))
        self.assertEqual(args["check_time"], "true")

    def test_values_become_text(self):
        args = self.resolved({**GOOD, "telemetry_enabled": False, "resolvers": ["10.0.0.2"], "gc_delay": 3})
        self.assertEqual((args["telemetry_enabled"], args["resolvers"], args["gc_delay"]), ("false", '["10.0.0.2"]', "3"))

    def test_unknown_keys_pass_silently(self):
        self.assertEqual(self.resolved({**GOOD, "bootstrapurl": "x"})["bootstrapurl"], "x")

    def test_every_missing_key_is_named(self):
        self.assertEqual(
            [f"{k}: {m}" for k, m in self.errors({})],
            [f"{key}: Must set {key}, no way to calculate value."
             for key in ("bootstrap_url", "cluster_name", "exhibitor_storage_backend", "master_discovery")],
        )

    def test_static_needs_a_list(self):
        self.one("master_list", "Must set master_list, no way to calculate value.", master_list=None)

    def test_load_balancer_needs_count_and_address(self):
        for key in ("num_masters", "exhibitor_address", "aws_region", "s3_bucket", "s3_prefix", "exhibitor_explicit_keys"):
            self.one(key, f"Must set {key}, no way to calculate value.", base={k: v for k, v in S3.items() if k != key})

    def test_load_balancer_is_accepted(self):
        self.assertEqual(self.resolved(S3)["master_quorum"], "2")

    def test_explicit_keys_need_the_keys(self):
        keys = [k for k, _ in self.errors({**S3, "exhibitor_explicit_keys": True})]
        self.assertEqual(keys, ["aws_access_key_id", "aws_secret_access_key"])

    def test_choices(self):
        self.one("master_discovery", "Must be one of static, master_http_loadbalancer. Got 'dynamic'.", master_discovery="dynamic")
        self.one("exhibitor_storage_backend",
                 "Must be one of static, aws_s3, zookeeper, azure, shared_filesystem. Got 's3'.", exhibitor_storage_backend="s3")

    def test_static_backend_excludes_the_load_balancer(self):
        self.one("master_discovery", "`master_http_loadbalancer` cannot be used with the exhibitor storage backend `static`.",
                 exhibitor_storage_backend="static", base=S3)

    def test_master_counts(self):
        self.one("master_list", "Must have 1, 3, 5, 7, or 9 masters. Found 2.", master_list=["10.0.0.1", "10.0.0.2"])
        self.one("num_masters", "Must have 1, 3, 5, 7, or 9 masters. Found 4.", num_masters=4, base=S3)

    def test_master_list_content(self):
        self.one("master_list", "List cannot contain duplicates: 10.0.0.1", master_list=["10.0.0.1", "10.0.0.1", "10.0.0.2"])
        self.one("master_list", "Invalid IPv4 addresses in list: 10.0.0.256, master", master_list=["10.0.0.256", "master", "10.0.0.1"])
        self.one("master_list", "Must be a list of IPv4 addresses. Got '10.0.0.1'.", master_list="10.0.0.1")

    def test_num_masters_is_not_given_with_static(self):
        self.one("num_masters", "Must not be set when master_discovery is `static`: it is calculated from master_list.", num_masters=3)

    def test_trailing_slashes(self):
        self.one("bootstrap_url", "Must not end in a '/'", bootstrap_url="http://10.0.0.1/")
        self.one("s3_prefix", "Must be a file path and cannot end in a /", s3_prefix="a/", base=S3)

    def test_resolvers(self):
        self.one("resolvers", "Must not have more than 3 resolvers. Found 4.", resolvers=["1.1.1.1"] * 4)
        self.one("resolvers", "198.51.100.2 is used by DC/OS itself", resolvers=["198.51.100.2"])
        self.one("resolvers", "Invalid resolver: dns", resolvers=["dns"])
        self.resolved({**GOOD, "resolvers": []})

    def test_superuser_account_is_a_pair(self):
        self.one("superuser_service_account_uid", "Must be set together with superuser_service_account_public_key, or neither.",
                 superuser_service_account_uid="x")

    def test_booleans(self):
        self.one("check_time", "Must be one of 'true', 'false'. Got 'maybe'.", check_time="maybe")

    def test_missing_ip_detect(self):
        keys = [k for k, _ in self.errors(GOOD, lambda name: None)]
        self.assertEqual(keys, ["ip_detect_filename", "ip_detect_public_filename"])

    def test_contents_in_the_configuration_need_no_files(self):
        args = self.resolved({**GOOD, "ip_detect_contents": "x", "ip_detect_public_contents": "y"}, lambda name: None)
        self.assertEqual(json.dumps([args["ip_detect_contents"], args["ip_detect_public_contents"]]), '["x", "y"]')


if __name__ == "__main__":
    unittest.main()
