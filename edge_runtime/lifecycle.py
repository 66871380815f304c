"""A lifecycle node that says in one line why a transition, a parameter or a callback failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.time_source import CLOCK_TOPIC

from edge_runtime.errors import SettingError, one_line
from edge_runtime.parameters import NodeParameters
from edge_runtime.reporter import Reporter
from edge_runtime.sim_time import checked_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.lifecycle import LifecycleState
    from rclpy.parameter import Parameter
    from rclpy.subscription import Subscription

    from edge_runtime.setting import Setting


class ManagedNode(LifecycleNode, ABC):
    """A node with declared parameters and a life cycle, which nothing that is asked of it ends.

    A subclass implements the four steps of the life cycle. They may raise anything: the node stays
    in the state that it was in, and the log and the diagnostics say why.

    Attributes:
        parameters: of the node, by name.
        reporter: of what it does.
        life: state of the life cycle, as ROS 2 names the primary ones.
    """

    def __init__(self, name: str, settings: Sequence[Setting], **options: Any) -> None:  # noqa: ANN401
        """Declare the parameters; `options` are the keyword arguments of `rclpy.node.Node`."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self.life = "unconfigured"
        self.parameters = NodeParameters(
            self, settings, lambda: self.life in {"inactive", "active"}
        )
        self.reporter = Reporter(self)

    @abstractmethod
    def configure(self) -> None:
        """Get ready. What was begun when it raises is cleaned up there."""

    @abstractmethod
    def activate(self) -> None:
        """Begin to listen. What was begun when it raises is stopped there."""

    @abstractmethod
    def deactivate(self) -> None:
        """Stop listening; called in every state."""

    @abstractmethod
    def clean_up(self) -> None:
        """Let go of what `configure` made; called in every state."""

    def start(self) -> None:
        """Configure and activate, if the parameter `autostart` says so."""
        if (
            self.parameters["autostart"]
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        ):
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; on any failure stay unconfigured, with one line in the log."""

        def configure() -> None:
            self._refuse_problems()
            self.configure()

        return self._attempt("configure", configure, "inactive", state, super().on_configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to listen."""
        return self._attempt("activate", self.activate, "active", state, super().on_activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, finish the frame in work."""
        return self._attempt(
            "deactivate", self.deactivate, "inactive", state, super().on_deactivate
        )

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what was loaded."""
        return self._attempt("cleanup", self.clean_up, "unconfigured", state, super().on_cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        return self._attempt("shutdown", self._end, "finalized", state, super().on_shutdown)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come back to unconfigured after a transition that broke."""
        return self._attempt("recover", self._end, "unconfigured", state, super().on_error)

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """Refuse unknown names with the list of those that there are."""
        unknown = self.parameters.unknown(parameter_list)
        if unknown:
            reason = self.parameters.refuse_unknown(unknown)
            return SetParametersResult(successful=False, reason=reason)
        return super().set_parameters_atomically(self.parameters.in_their_type(parameter_list))

    def create_subscription(
        self,
        msg_type: type[Any],
        topic: str,
        callback: Callable[..., None],
        *arguments: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Subscription[Any]:
        """Subscribe; of /clock, which rclpy subscribes by itself, only times that it can take."""
        if topic == CLOCK_TOPIC:
            callback = checked_clock(callback, self._reject)
        return super().create_subscription(msg_type, topic, callback, *arguments, **options)

    def survive(self, error: Exception) -> None:
        """Say what a callback raised; whoever spins this node may go on after that."""
        self.reporter.survived(error)

    def destroy_node(self) -> None:
        """Stop, and let go of what was loaded, before the publishers go."""
        self._end()
        # rclpy forgets it, and it holds the node: the participant would end with the process
        # only, without removing its shared memory.
        self._state_machine.destroy_when_not_in_use()
        super().destroy_node()

    def _end(self) -> None:
        self.deactivate()
        self.clean_up()

    def _reject(self, kind: str, message: str) -> None:
        # rclpy subscribes to /clock before there is a reporter.
        self.reporter.reject(kind, message)

    def _attempt(
        self,
        name: str,
        step: Callable[[], None],
        reached: str,
        state: LifecycleState,
        entities: Callable[[LifecycleState], TransitionCallbackReturn],
    ) -> TransitionCallbackReturn:
        # rclpy turns an exception in a transition into an error state without a word.
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self.reporter.failure = f"{name} failed: {one_line(error)}"
            self.get_logger().error(self.reporter.failure)
            return TransitionCallbackReturn.FAILURE
        self.life = reached
        self.reporter.failure = ""
        return entities(state)

    def _refuse_problems(self) -> None:
        # Refused once: whoever configures again after that means the values that hold now.
        problems, self.parameters.problems = self.parameters.problems, []
        if problems:
            raise SettingError("; ".join(problems))
