"""Models and SQL that were written for AgentFarm, on an experiment database."""

from __future__ import annotations

from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from farm_merge import ExperimentDatabase
from farm_merge.models import AgentModel
from tests.conftest import query


class Old(DeclarativeBase):
    """Models as AgentFarm declares them: an agent's key is its id alone."""


class OldAgent(Old):
    __tablename__ = "agents"
    agent_id: Mapped[str] = mapped_column(String, primary_key=True)
    simulation_id: Mapped[str] = mapped_column(String)


def test_models_keyed_by_agent_id_need_a_session_for_each_simulation(four_runs):
    engine = create_engine(f"sqlite:///{four_runs}")
    first = select(OldAgent).where(OldAgent.simulation_id == "a1")
    second = select(OldAgent).where(OldAgent.simulation_id == "a2")
    with Session(engine) as session:
        kept = session.scalars(first).all()
        confused = session.scalars(second).all()
        assert confused[0] is kept[0]
        assert confused[0].simulation_id == "a1"
    with Session(engine) as session:
        assert {agent.simulation_id for agent in session.scalars(second)} == {"a2"}
    with ExperimentDatabase(four_runs, "exp") as database, database.Session() as session:
        ours = session.scalars(select(AgentModel)).all()
        assert len({(agent.simulation_id, agent.agent_id) for agent in ours}) == 10
    engine.dispose()


def test_agentfarms_own_sql_runs_as_it_is(four_runs):
    assert query(
        four_runs,
        "SELECT step_number, total_agents FROM simulation_steps WHERE simulation_id = 'a1'"
        " ORDER BY step_number DESC LIMIT 1",
    ) == [(2, 12)]
