"""Key brokers, as a library: what ``haulout broker`` does.

Functions take and return typed values; every failure is a :class:`haulout.HauloutError`. docs/broker.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.audit import Head, InvalidRow, LogReport, Row
    from haulout.broker.policy import RefusedList
    from haulout.broker.protocol import InvalidMessage
    from haulout.broker.stores import InvalidBackup, InvalidKeyring, SealError, StoreError, Taken, Unknown
    from haulout.usecases.broker_access import BrokerAccess
    from haulout.usecases.broker_collateral import (
        CollateralReport,
        fetch_collateral,
        import_collateral,
        list_collateral,
    )
    from haulout.usecases.broker_follow import FollowedList, broker_workload_follow
    from haulout.usecases.broker_foresight import Forecast, PolicyCheck, broker_forecast, broker_policy_check
    from haulout.usecases.broker_init import MadeBroker, broker_init
    from haulout.usecases.broker_keys import (
        BackedUp,
        MovedResources,
        RotatedKeys,
        broker_backup,
        broker_export,
        broker_import,
        broker_restore,
        broker_rotate,
    )
    from haulout.usecases.broker_log import Exported, LogSource, StateFolder, broker_log, broker_log_verify
    from haulout.usecases.broker_owner import OwnerReport, broker_owner
    from haulout.usecases.broker_serve import ServeRequest, Serving, broker_serve
    from haulout.usecases.broker_workload import (
        BrokerWorkload,
        PolicyDocument,
        PolicyVersion,
        broker_policy_history,
        broker_policy_set,
        broker_policy_show,
        broker_workload_add,
        broker_workload_list,
        broker_workload_rm,
        broker_workload_show,
    )

__all__ = [
    "BackedUp",
    "BrokerAccess",
    "BrokerWorkload",
    "CollateralReport",
    "Exported",
    "FollowedList",
    "Forecast",
    "Head",
    "InvalidBackup",
    "InvalidKeyring",
    "InvalidMessage",
    "InvalidRow",
    "LogReport",
    "LogSource",
    "MadeBroker",
    "MovedResources",
    "OwnerReport",
    "PolicyCheck",
    "PolicyDocument",
    "PolicyVersion",
    "RefusedList",
    "RotatedKeys",
    "Row",
    "SealError",
    "ServeRequest",
    "Serving",
    "StateFolder",
    "StoreError",
    "Taken",
    "Unknown",
    "broker_backup",
    "broker_export",
    "broker_forecast",
    "broker_import",
    "broker_init",
    "broker_log",
    "broker_log_verify",
    "broker_owner",
    "broker_policy_check",
    "broker_policy_history",
    "broker_policy_set",
    "broker_policy_show",
    "broker_restore",
    "broker_rotate",
    "broker_serve",
    "broker_workload_add",
    "broker_workload_follow",
    "broker_workload_list",
    "broker_workload_rm",
    "broker_workload_show",
    "fetch_collateral",
    "import_collateral",
    "list_collateral",
]

open_face(
    __name__,
    {
        "broker.audit": (
            "Head",
            "InvalidRow",
            "LogReport",
            "Row",
        ),
        "broker.policy": ("RefusedList",),
        "broker.protocol": ("InvalidMessage",),
        "broker.stores": (
            "InvalidBackup",
            "InvalidKeyring",
            "SealError",
            "StoreError",
            "Taken",
            "Unknown",
        ),
        "usecases.broker_access": ("BrokerAccess",),
        "usecases.broker_follow": (
            "FollowedList",
            "broker_workload_follow",
        ),
        "usecases.broker_foresight": (
            "Forecast",
            "PolicyCheck",
            "broker_forecast",
            "broker_policy_check",
        ),
        "usecases.broker_log": (
            "Exported",
            "LogSource",
            "StateFolder",
            "broker_log",
            "broker_log_verify",
        ),
        "usecases.broker_workload": (
            "BrokerWorkload",
            "PolicyDocument",
            "PolicyVersion",
            "broker_policy_history",
            "broker_policy_set",
            "broker_policy_show",
            "broker_workload_add",
            "broker_workload_list",
            "broker_workload_rm",
            "broker_workload_show",
        ),
        "usecases.broker_collateral": (
            "CollateralReport",
            "fetch_collateral",
            "import_collateral",
            "list_collateral",
        ),
        "usecases.broker_init": ("MadeBroker", "broker_init"),
        "usecases.broker_keys": (
            "BackedUp",
            "MovedResources",
            "RotatedKeys",
            "broker_backup",
            "broker_export",
            "broker_import",
            "broker_restore",
            "broker_rotate",
        ),
        "usecases.broker_owner": ("OwnerReport", "broker_owner"),
        "usecases.broker_serve": ("ServeRequest", "Serving", "broker_serve"),
    },
    root="haulout",
)
