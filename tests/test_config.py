"""Configurations: packaged defaults, a user's file, keywords, and no unknown names."""

import pytest
from pydantic import ValidationError

from farm_merge.config import DatabaseConfig, SimulationConfig
from farm_merge.errors import FarmMergeError


def test_the_packaged_defaults_are_what_a_configuration_holds():
    assert SimulationConfig() == SimulationConfig.from_centralized_config()
    assert SimulationConfig().population == 30


def test_a_file_changes_the_defaults_and_keywords_change_the_file(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("seed = 7\nlearning_rate = 0.5\n[database]\npragma_profile = 'safety'\n")
    config = SimulationConfig.from_centralized_config(file, learning_rate=0.9)
    assert (config.seed, config.learning_rate) == (7, 0.9)
    assert config.database.pragmas()["synchronous"] == "FULL"


@pytest.mark.parametrize(
    ("population", "kinds"), [(10, (4, 3, 3)), (50, (17, 17, 16)), (3, (1, 1, 1))]
)
def test_a_population_is_split_evenly_over_the_kinds(population, kinds):
    config = SimulationConfig.from_centralized_config(population=population)
    assert (config.system_agents, config.independent_agents, config.control_agents) == kinds
    assert config.population == population
    assert SimulationConfig().with_population(population) == config


def test_unknown_names_are_errors_that_name_them(tmp_path):
    with pytest.raises(FarmMergeError, match="learning_rat"):
        SimulationConfig.from_centralized_config(learning_rat=0.1)
    file = tmp_path / "my.toml"
    file.write_text("[database]\ncache = 1\n")
    with pytest.raises(FarmMergeError, match=r"my\.toml: database\.cache"):
        SimulationConfig.from_centralized_config(file)
    with pytest.raises(ValidationError):
        SimulationConfig(colour="red")


@pytest.mark.parametrize("text", ["seed = ", "seed = -1"])
def test_a_file_that_cannot_be_meant_is_named(tmp_path, text):
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(FarmMergeError, match=r"my\.toml"):
        SimulationConfig.from_centralized_config(file)
    with pytest.raises(FarmMergeError, match="nowhere"):
        SimulationConfig.from_centralized_config(tmp_path / "nowhere")


def test_a_setting_wins_over_its_profile():
    assert DatabaseConfig(pragma_profile="performance").pragmas()["synchronous"] == "OFF"
    config = DatabaseConfig(pragma_profile="performance", synchronous="FULL", cache_size_mb=1)
    assert config.pragmas() == {"journal_mode": "WAL", "synchronous": "FULL", "cache_size": -1024}
