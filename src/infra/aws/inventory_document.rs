//! An instance as AWS describes it, in plain data with the names that Ansible gives its variables.
//!
//! Owns: the way from the SDK's types to a document. What AWS leaves out is left out here too.

use aws_sdk_ec2::types as ec2;
use aws_smithy_types::DateTime;
use serde_json::{Map, Value as Json};

/// The document of one instance: the description in snake case, with `tags` as a mapping, what the reservation knows, and
/// the region as `placement.region`.
pub(super) fn document(instance: &ec2::Instance, reservation: &ec2::Reservation, region: &str) -> Json {
    let mut document = match instance.part() {
        Json::Object(map) => map,
        other => return other,
    };
    let tags = instance
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), Json::from(tag.value().unwrap_or_default()))));
    document.insert("tags".to_owned(), Json::Object(tags.collect()));
    for (name, value) in [
        ("owner_id", reservation.owner_id()),
        ("requester_id", reservation.requester_id()),
        ("reservation_id", reservation.reservation_id()),
    ] {
        document.insert(name.to_owned(), value.unwrap_or_default().into());
    }
    if let Some(placement) = document.get_mut("placement").and_then(Json::as_object_mut) {
        placement.insert("region".to_owned(), region.into());
    }
    Json::Object(document)
}

/// The document of one image.
pub(super) fn image(image: &ec2::Image) -> Json {
    let mut document = image.part();
    let tags = image
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), Json::from(tag.value().unwrap_or_default()))));
    document["tags"] = Json::Object(tags.collect());
    document
}

/// Something inside a description.
trait Part {
    fn part(&self) -> Json;
}

impl Part for String {
    fn part(&self) -> Json {
        self.as_str().into()
    }
}

impl Part for bool {
    fn part(&self) -> Json {
        (*self).into()
    }
}

impl Part for i32 {
    fn part(&self) -> Json {
        (*self).into()
    }
}

impl Part for DateTime {
    /// As Python writes it: `2026-01-02T03:04:05+00:00`, with microseconds only when there are some.
    fn part(&self) -> Json {
        let Ok(at) = jiff::Timestamp::from_second(self.secs()) else { return Json::Null };
        let whole = at.strftime("%Y-%m-%dT%H:%M:%S");
        match self.subsec_nanos() / 1000 {
            0 => format!("{whole}+00:00").into(),
            micros => format!("{whole}.{micros:06}+00:00").into(),
        }
    }
}

impl<T: Part> Part for Vec<T> {
    fn part(&self) -> Json {
        self.iter().map(Part::part).collect()
    }
}

/// Types whose value is one of a few words.
macro_rules! words {
    ($($kind:ident),* $(,)?) => {
        $(impl Part for ec2::$kind {
            fn part(&self) -> Json {
                self.as_str().into()
            }
        })*
    };
}

/// Types with fields, each of which may be missing.
macro_rules! fields {
    ($($kind:ident { $($field:ident),* $(,)? })*) => {
        $(impl Part for ec2::$kind {
            fn part(&self) -> Json {
                let mut map = Map::new();
                $(if let Some(value) = &self.$field {
                    map.insert(stringify!($field).to_owned(), value.part());
                })*
                Json::Object(map)
            }
        })*
    };
}

words! {
    AmdSevSnpSpecification, ArchitectureValues, AttachmentStatus, BootModeValues, CapacityReservationPreference, DeviceType,
    HostnameType, HttpTokensState, HypervisorType, ImageState, ImageTypeValues, ImdsSupportValues, InstanceAutoRecoveryState, InstanceBandwidthWeighting,
    InstanceBootModeValues, InstanceLifecycleType, InstanceMetadataEndpointState, InstanceMetadataOptionsState,
    InstanceMetadataProtocolState, InstanceMetadataTagsState, InstanceRebootMigrationState, InstanceStateName, InstanceType,
    MonitoringState, NestedVirtualizationSpecification, NetworkInterfaceStatus, PlatformValues, ProductCodeValues, Tenancy,
    TpmSupportValues, VirtualizationType, VolumeType,
}

fields! {
    Instance {
        ami_launch_index, architecture, block_device_mappings, boot_mode, capacity_block_id, capacity_reservation_id,
        capacity_reservation_specification, client_token, cpu_options, current_instance_boot_mode, ebs_optimized,
        elastic_gpu_associations, ena_support, enclave_options, hibernation_options, hypervisor, iam_instance_profile,
        image_id, instance_id, instance_lifecycle, instance_type, ipv6_address, kernel_id, key_name, launch_time, licenses,
        maintenance_options, metadata_options, monitoring, network_interfaces, network_performance_options, operator,
        outpost_arn, placement, platform, platform_details, private_dns_name, private_dns_name_options, private_ip_address,
        product_codes, public_dns_name, public_ip_address, ramdisk_id, root_device_name, root_device_type, security_groups,
        source_dest_check, spot_instance_request_id, sriov_net_support, state, state_reason, state_transition_reason,
        subnet_id, tpm_support, usage_operation, usage_operation_update_time, virtualization_type, vpc_id,
    }
    Placement {
        affinity, availability_zone, availability_zone_id, group_id, group_name, host_id, host_resource_group_arn,
        partition_number, spread_domain, tenancy,
    }
    InstanceBlockDeviceMapping { device_name, ebs }
    EbsInstanceBlockDevice {
        associated_resource, attach_time, delete_on_termination, ebs_card_index, operator, status, volume_id, volume_owner_id,
    }
    InstanceNetworkInterface {
        association, attachment, connection_tracking_configuration, description, groups, interface_type, ipv4_prefixes,
        ipv6_addresses, ipv6_prefixes, mac_address, network_interface_id, operator, owner_id, private_dns_name,
        private_ip_address, private_ip_addresses, source_dest_check, status, subnet_id, vpc_id,
    }
    InstanceNetworkInterfaceAssociation { carrier_ip, customer_owned_ip, ip_owner_id, public_dns_name, public_ip }
    InstanceNetworkInterfaceAttachment {
        attach_time, attachment_id, delete_on_termination, device_index, ena_queue_count, ena_srd_specification,
        network_card_index, status,
    }
    InstanceAttachmentEnaSrdSpecification { ena_srd_enabled, ena_srd_udp_specification }
    InstanceAttachmentEnaSrdUdpSpecification { ena_srd_udp_enabled }
    InstancePrivateIpAddress { association, primary, private_dns_name, private_ip_address }
    InstanceIpv4Prefix { ipv4_prefix }
    InstanceIpv6Prefix { ipv6_prefix }
    InstanceIpv6Address { ipv6_address, is_primary_ipv6 }
    ConnectionTrackingSpecificationResponse { tcp_established_timeout, udp_stream_timeout, udp_timeout }
    CapacityReservationSpecificationResponse { capacity_reservation_preference, capacity_reservation_target }
    CapacityReservationTargetResponse { capacity_reservation_id, capacity_reservation_resource_group_arn }
    CpuOptions { amd_sev_snp, core_count, nested_virtualization, threads_per_core }
    ElasticGpuAssociation {
        elastic_gpu_association_id, elastic_gpu_association_state, elastic_gpu_association_time, elastic_gpu_id,
    }
    EnclaveOptions { enabled }
    GroupIdentifier { group_id, group_name }
    HibernationOptions { configured }
    IamInstanceProfile { arn, id }
    InstanceMaintenanceOptions { auto_recovery, reboot_migration }
    InstanceMetadataOptionsResponse {
        http_endpoint, http_protocol_ipv6, http_put_response_hop_limit, http_tokens, instance_metadata_tags, state,
    }
    InstanceNetworkPerformanceOptions { bandwidth_weighting }
    Image {
        architecture, block_device_mappings, boot_mode, creation_date, deprecation_time, deregistration_protection,
        description, ena_support, hypervisor, image_id, image_location, image_owner_alias, image_type, imds_support, kernel_id,
        last_launched_time, name, owner_id, platform, platform_details, product_codes, public, ramdisk_id, root_device_name,
        root_device_type, source_image_id, source_image_region, source_instance_id, sriov_net_support, state, state_reason,
        tpm_support, usage_operation, virtualization_type,
    }
    BlockDeviceMapping { device_name, ebs, no_device, virtual_name }
    EbsBlockDevice {
        delete_on_termination, encrypted, iops, kms_key_id, outpost_arn, snapshot_id, throughput, volume_size, volume_type,
    }
    InstanceState { code, name }
    LicenseConfiguration { license_configuration_arn }
    Monitoring { state }
    OperatorResponse { hidden_by_default, managed, principal }
    PrivateDnsNameOptionsResponse {
        enable_resource_name_dns_a_record, enable_resource_name_dns_aaaa_record, hostname_type,
    }
    ProductCode { product_code_id, product_code_type }
    StateReason { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_written_as_python_writes_them() {
        assert_eq!(DateTime::from_secs(0).part(), "1970-01-01T00:00:00+00:00");
        let late = DateTime::from_secs_and_nanos(1_767_323_045, 120_000_000);
        assert_eq!(late.part(), "2026-01-02T03:04:05.120000+00:00");
    }

    #[test]
    fn a_document_has_what_was_described_and_nothing_else() {
        let instance = ec2::Instance::builder()
            .instance_id("i-1")
            .public_dns_name("")
            .instance_type(ec2::InstanceType::M5Large)
            .placement(ec2::Placement::builder().availability_zone("eu-west-1a").build())
            .tags(ec2::Tag::builder().key("Name").value("m1").build())
            .tags(ec2::Tag::builder().key("dcos_master").value("").build())
            .build();
        let reservation = ec2::Reservation::builder().owner_id("1").reservation_id("r-1").build();
        assert_eq!(
            document(&instance, &reservation, "eu-west-1"),
            json!({
                "instance_id": "i-1",
                "instance_type": "m5.large",
                "placement": {"availability_zone": "eu-west-1a", "region": "eu-west-1"},
                "public_dns_name": "",
                "tags": {"Name": "m1", "dcos_master": ""},
                "owner_id": "1",
                "requester_id": "",
                "reservation_id": "r-1",
            })
        );
    }
}
