# Every target works from a fresh clone; nothing needs to be sourced.
.PHONY: help setup setup-robocasa demo test test-all lint clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: ## make .venv, install ROS 2 and everything else, build ros_ws (about 3 minutes once, 3.5 GB)
	@scripts/setup

setup-robocasa: ## make .venv-robocasa, the environment that RoboCasa needs for itself (1.2 GB, without its kitchens)
	@scripts/setup --robocasa

demo: setup ## the whole loop on this machine: bags, training, evaluation, deployment over ROS 2, report
	@scripts/run world2act demo

lint: setup ## ruff and mypy
	scripts/run ruff check .
	scripts/run ruff format --check .
	scripts/run mypy

test: lint ## lint, then the tests but for the slow ones
	scripts/run pytest -m "not slow"

test-all: setup ## the slow tests
	scripts/run pytest -m slow

clean: ## remove the environment and what was built (runs/ stays)
	rm -rf .venv ros_ws/build ros_ws/install ros_ws/log build dist log *.egg-info
