# The lab: five servers as containers on this machine. Variables: LAB=<name>, LAB_DEBIAN=trixie|bookworm,
# LAB_REPLACE=1 (lab-up, demo: replace servers made from an older image), KEEP_IMAGES=1 (lab-down: keep what was built),
# ALL_LABS=1 (lab-down: also the labs of other checkouts).
LAB ?= lab
LAB_DEBIAN ?= trixie
export LAB LAB_DEBIAN LAB_BARE LAB_REPLACE KEEP_IMAGES ALL_LABS

.PHONY: demo lab-up lab-down
demo: ## Bring the whole platform up on five lab servers; again: resume and repair
	@lab/demo

lab-up: ## Make or start the five lab servers and their inventory, nothing more
	@lab/demo up

lab-down: ## Remove the lab and every trace of it (KEEP_IMAGES=1 keeps what was built)
	@lab/down
